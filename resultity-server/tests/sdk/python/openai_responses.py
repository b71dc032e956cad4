"""The Responses API through OpenAI's SDK: at once, streamed, and in the background."""

import asyncio
import unittest

import openai
from setting import MODEL, OPTIONS, wait_until

QUESTION = {
    "model": MODEL,
    "instructions": "You are a helpful assistant.",
    "input": "What is the capital of France?",
    "temperature": 0,
    "max_output_tokens": 16,
}


class Responses(unittest.TestCase):
    def setUp(self):
        self.client = openai.OpenAI(**OPTIONS)
        self.addCleanup(self.client.close)

    def ask(self, **changes):
        return self.client.responses.create(**{**QUESTION, **changes})

    def ended(self, response_id):
        return wait_until(
            lambda: self.client.responses.retrieve(response_id),
            lambda response: response.status not in ("queued", "in_progress"),
        )

    def test_an_answer_at_once(self):
        response = self.ask()
        self.assertEqual((response.object, response.model, response.error), ("response", MODEL, None))
        self.assertTrue(response.id.startswith("resp_"))
        self.assertIn(response.status, ("completed", "incomplete"))
        self.assertIn("Paris", response.output_text)
        (message,) = response.output
        self.assertEqual((message.type, message.role), ("message", "assistant"))
        self.assertEqual(response.instructions, QUESTION["instructions"])
        usage = response.usage
        self.assertTrue(0 < usage.output_tokens <= 16)
        self.assertEqual(usage.total_tokens, usage.input_tokens + usage.output_tokens)

    def test_messages_as_input(self):
        response = self.ask(input=[
            {"role": "user", "content": "What is the capital of Italy?"},
            {"role": "assistant", "content": "The capital of Italy is Rome."},
            {"role": "user", "content": [{"type": "input_text", "text": "What is the capital of France?"}]},
        ])
        self.assertIn("Paris", response.output_text)

    def test_an_answer_that_is_cut_says_why(self):
        response = self.ask(max_output_tokens=16, input="Tell me a long story about a fox.", temperature=0)
        self.assertEqual(response.status, "incomplete")
        self.assertEqual(response.incomplete_details.reason, "max_output_tokens")

    def test_a_stored_one_is_found_listed_by_its_input_and_deleted(self):
        response = self.ask()
        found = self.client.responses.retrieve(response.id)
        self.assertEqual((found.id, found.output_text), (response.id, response.output_text))
        (item,) = self.client.responses.input_items.list(response.id).data
        self.assertEqual((item.role, item.content[0].text), ("user", QUESTION["input"]))
        self.client.responses.delete(response.id)
        for ask in (self.client.responses.retrieve, self.client.responses.delete):
            with self.assertRaises(openai.NotFoundError):
                ask(response.id)

    def test_one_that_is_not_stored_is_gone(self):
        response = self.ask(store=False)
        with self.assertRaises(openai.NotFoundError):
            self.client.responses.retrieve(response.id)

    def test_a_conversation_goes_on(self):
        first = self.ask()
        second = self.ask(previous_response_id=first.id, input="And of Italy?")
        self.assertEqual(second.previous_response_id, first.id)
        self.assertGreater(second.usage.input_tokens, first.usage.input_tokens)

    def test_a_stream_of_typed_events(self):
        whole = self.ask()
        kinds, numbers, text, final = [], [], "", None
        for event in self.ask(stream=True):
            kinds.append(event.type)
            numbers.append(event.sequence_number)
            if event.type == "response.output_text.delta":
                text += event.delta
            if event.type in ("response.completed", "response.incomplete"):
                final = event.response
        self.assertEqual(kinds[0], "response.created")
        self.assertIn("response.output_item.added", kinds)
        self.assertIn("response.content_part.added", kinds)
        self.assertIn("response.output_text.done", kinds)
        self.assertIn("response.output_item.done", kinds)
        self.assertEqual(numbers, list(range(numbers[0], numbers[0] + len(numbers))))
        self.assertEqual(text, whole.output_text)
        self.assertEqual(final.output_text, text)
        self.assertGreater(final.usage.output_tokens, 0)

    def test_the_stream_helper_puts_it_together(self):
        with self.client.responses.stream(**QUESTION) as stream:
            self.assertIn("Paris", stream.get_final_response().output_text)

    def test_what_can_not_be_done_is_refused_by_name(self):
        cases = [
            ({"temperature": 3}, "temperature"),
            ({"max_output_tokens": 0}, "max_output_tokens"),
            ({"input": 5}, "input"),
            ({"previous_response_id": 7}, "previous_response_id"),
            ({"background": True, "store": False}, "store"),
            ({"truncation": "sometimes"}, "truncation"),
        ]
        for changes, param in cases:
            with self.subTest(changes=changes), self.assertRaises(openai.BadRequestError) as caught:
                self.ask(**changes)
            self.assertEqual((caught.exception.status_code, caught.exception.param), (400, param))

    def test_an_unknown_model(self):
        with self.assertRaises(openai.NotFoundError) as caught:
            self.ask(model="no-such-model")
        self.assertEqual((caught.exception.code, caught.exception.param), ("model_not_found", "model"))


class InTheBackground(unittest.TestCase):
    setUp, ask, ended = Responses.setUp, Responses.ask, Responses.ended

    def test_it_is_polled_for(self):
        response = self.ask(background=True)
        self.assertIn(response.status, ("queued", "in_progress"))
        self.assertTrue(response.background)
        ended = self.ended(response.id)
        self.assertIn(ended.status, ("completed", "incomplete"))
        self.assertIn("Paris", ended.output_text)
        self.assertGreater(ended.usage.output_tokens, 0)

    def test_it_is_cancelled_as_often_as_one_likes(self):
        response = self.ask(background=True, input="Tell me a long story.", max_output_tokens=512)
        for _ in range(2):
            cancelled = self.client.responses.cancel(response.id)
            self.assertEqual((cancelled.id, cancelled.status), (response.id, "cancelled"))
        self.assertEqual(self.ended(response.id).status, "cancelled")

    def test_one_that_has_ended_stays_as_it_is(self):
        response = self.ask(background=True)
        status = self.ended(response.id).status
        self.assertEqual(self.client.responses.cancel(response.id).status, status)

    def test_its_stream_is_taken_up_where_it_was_left(self):
        stream = self.ask(background=True, stream=True)
        seen, response_id = [], None
        for event in stream:
            seen.append(event.sequence_number)
            if event.type == "response.created":
                response_id = event.response.id
            if len(seen) == 4:
                break
        stream.close()
        rest = list(self.client.responses.retrieve(response_id, stream=True, starting_after=seen[-1]))
        numbers = [event.sequence_number for event in rest]
        self.assertEqual(numbers, list(range(seen[-1] + 1, seen[-1] + 1 + len(numbers))))
        self.assertIn("Paris", rest[-1].response.output_text)
        again = list(self.client.responses.retrieve(response_id, stream=True, starting_after=seen[-1]))
        self.assertEqual([event.sequence_number for event in again], numbers)

    def test_only_one_in_the_background_can_be_cancelled(self):
        response = self.ask()
        with self.assertRaises(openai.BadRequestError):
            self.client.responses.cancel(response.id)

    def test_the_async_client(self):
        async def ask():
            async with openai.AsyncOpenAI(**OPTIONS) as client:
                response = await client.responses.create(**QUESTION, background=True)
                while response.status in ("queued", "in_progress"):
                    await asyncio.sleep(0.05)
                    response = await client.responses.retrieve(response.id)
                stream = await client.responses.create(**QUESTION, stream=True)
                deltas = [event.delta async for event in stream if event.type == "response.output_text.delta"]
            return response.output_text, "".join(deltas)

        whole, streamed = asyncio.run(ask())
        self.assertIn("Paris", whole)
        self.assertEqual(streamed, whole)
