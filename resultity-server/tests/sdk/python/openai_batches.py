"""Files and batches through OpenAI's SDK."""

import io
import json
import unittest

import openai
from setting import EMBEDDING_MODEL, OPTIONS, QUESTION, wait_until

FINAL = ("completed", "failed", "expired", "cancelled")


def line(custom_id, body, url="/v1/chat/completions"):
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": url, "body": body})


class Stored(unittest.TestCase):
    def setUp(self):
        self.client = openai.OpenAI(**OPTIONS)
        self.addCleanup(self.client.close)

    def upload(self, lines, **options):
        content = "\n".join(lines).encode()
        return self.client.files.create(file=("requests.jsonl", content), purpose="batch", **options)


class Files(Stored):
    def test_one_is_stored_found_listed_read_and_deleted(self):
        content = b'{"a": 1}\n{"b": "\xc3\xa9"}\n'
        stored = self.client.files.create(file=("notes.jsonl", content), purpose="user_data")
        self.assertEqual((stored.object, stored.filename, stored.purpose), ("file", "notes.jsonl", "user_data"))
        self.assertEqual((stored.bytes, stored.status), (len(content), "processed"))
        self.assertEqual(self.client.files.retrieve(stored.id).id, stored.id)
        self.assertIn(stored.id, [file.id for file in self.client.files.list(purpose="user_data")])
        self.assertNotIn(stored.id, [file.id for file in self.client.files.list(purpose="batch")])
        self.assertEqual(self.client.files.content(stored.id).read(), content)
        self.assertTrue(self.client.files.delete(stored.id).deleted)
        for ask in (self.client.files.retrieve, self.client.files.content, self.client.files.delete):
            with self.assertRaises(openai.NotFoundError):
                ask(stored.id)

    def test_a_list_comes_in_pages(self):
        stored = {self.upload([line(str(index), QUESTION)]).id for index in range(3)}
        listed = [file.id for file in self.client.files.list(purpose="batch", limit=2)]
        self.assertTrue(stored <= set(listed))
        self.assertEqual(len(listed), len(set(listed)))

    def test_one_may_be_given_an_end(self):
        file = self.upload([line("a", QUESTION)], expires_after={"anchor": "created_at", "seconds": 3600})
        self.assertEqual(file.expires_at, file.created_at + 3600)

    def test_a_purpose_that_is_not_served_is_refused(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            self.client.files.create(file=("a.jsonl", b"{}"), purpose="fine-tune")
        self.assertEqual(caught.exception.param, "purpose")

    def test_a_file_object_may_be_given(self):
        stored = self.client.files.create(file=io.BytesIO(b"{}\n"), purpose="user_data")
        self.assertEqual(stored.bytes, 3)


class Batches(Stored):
    def begin(self, lines, endpoint="/v1/chat/completions", **options):
        return self.client.batches.create(
            input_file_id=self.upload(lines).id, endpoint=endpoint, completion_window="24h", **options
        )

    def ended(self, batch):
        return wait_until(lambda: self.client.batches.retrieve(batch.id), lambda batch: batch.status in FINAL)

    def lines(self, file_id):
        return [json.loads(text) for text in self.client.files.content(file_id).text.splitlines()]

    def test_requests_in_a_file_answers_in_a_file(self):
        begun = self.begin([line("first", QUESTION), line("last", QUESTION)], metadata={"team": "a"})
        self.assertEqual((begun.object, begun.endpoint), ("batch", "/v1/chat/completions"))
        self.assertTrue(begun.id.startswith("batch_"))
        ended = self.ended(begun)
        self.assertEqual((ended.status, ended.error_file_id), ("completed", None))
        counts = ended.request_counts
        self.assertEqual((counts.total, counts.completed, counts.failed), (2, 2, 0))
        self.assertEqual(ended.metadata, {"team": "a"})
        answers = {answer["custom_id"]: answer for answer in self.lines(ended.output_file_id)}
        self.assertEqual(set(answers), {"first", "last"})
        for answer in answers.values():
            self.assertEqual((answer["response"]["status_code"], answer["error"]), (200, None))
            self.assertIn("Paris", answer["response"]["body"]["choices"][0]["message"]["content"])
        self.assertIn(begun.id, [batch.id for batch in self.client.batches.list(limit=5)])

    def test_embeddings(self):
        body = {"model": EMBEDDING_MODEL, "input": "What is love?"}
        ended = self.ended(self.begin([line("a", body, "/v1/embeddings")], "/v1/embeddings"))
        self.assertEqual(ended.status, "completed")
        (answer,) = self.lines(ended.output_file_id)
        self.assertTrue(answer["response"]["body"]["data"][0]["embedding"])

    def test_a_file_that_is_wrong_fails_with_the_line(self):
        ended = self.ended(self.begin([line("a", QUESTION), "not json"]))
        self.assertEqual(ended.status, "failed")
        self.assertIn(2, [error.line for error in ended.errors.data])
        twice = self.ended(self.begin([line("a", QUESTION), line("a", QUESTION)]))
        self.assertEqual(twice.status, "failed")

    def test_a_request_that_is_wrong_fails_alone(self):
        ended = self.ended(self.begin([line("a", QUESTION), line("b", {**QUESTION, "temperature": 9})]))
        counts = ended.request_counts
        self.assertEqual((ended.status, counts.completed, counts.failed), ("completed", 1, 1))
        (wrong,) = self.lines(ended.error_file_id)
        self.assertEqual((wrong["custom_id"], wrong["response"]["status_code"]), ("b", 400))
        self.assertEqual(wrong["response"]["body"]["error"]["param"], "temperature")

    def test_one_is_cancelled(self):
        long = {**QUESTION, "max_tokens": 200, "messages": [{"role": "user", "content": "Tell me a long story."}]}
        begun = self.begin([line(str(index), long) for index in range(20)])
        self.assertIn(self.client.batches.cancel(begun.id).status, ("cancelling", "cancelled"))
        self.assertEqual(self.ended(begun).status, "cancelled")

    def test_what_can_not_be_is_refused_by_name(self):
        file = self.upload([line("a", QUESTION)])
        good = {"input_file_id": file.id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        for changes, param in [({"endpoint": "/v1/images/generations"}, "endpoint"), ({"completion_window": "1s"}, "completion_window")]:
            with self.assertRaises(openai.BadRequestError) as caught:
                self.client.batches.create(**{**good, **changes})
            self.assertEqual(caught.exception.param, param)
        with self.assertRaises(openai.NotFoundError):
            self.client.batches.retrieve("batch_" + file.id.removeprefix("file-"))
