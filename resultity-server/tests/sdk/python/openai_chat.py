"""Chat completions and models through OpenAI's SDK: only the base URL and the key are ours."""

import asyncio
import unittest

import openai
from setting import MESSAGES, MODEL, OPTIONS, QUESTION


class Models(unittest.TestCase):
    def test_they_are_listed_and_found_by_name(self):
        with openai.OpenAI(**OPTIONS) as client:
            self.assertIn(MODEL, [model.id for model in client.models.list()])
            found = client.models.retrieve(MODEL)
        self.assertEqual((found.id, found.object), (MODEL, "model"))
        self.assertIsInstance(found.created, int)
        self.assertIsInstance(found.owned_by, str)


class Whole(unittest.TestCase):
    def setUp(self):
        self.client = openai.OpenAI(**OPTIONS)
        self.addCleanup(self.client.close)

    def ask(self, **changes):
        return self.client.chat.completions.create(**{**QUESTION, **changes})

    def test_an_answer_comes_with_its_token_counts(self):
        answer = self.ask()
        self.assertEqual((answer.object, answer.model), ("chat.completion", MODEL))
        self.assertEqual(answer.choices[0].message.role, "assistant")
        self.assertIn("Paris", answer.choices[0].message.content)
        self.assertIn(answer.choices[0].finish_reason, ("stop", "length"))
        usage = answer.usage
        self.assertGreater(usage.prompt_tokens, 0)
        self.assertTrue(0 < usage.completion_tokens <= 12)
        self.assertEqual(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens)

    def test_what_is_said_beside_the_answer(self):
        raw = self.client.chat.completions.with_raw_response.create(**QUESTION)
        self.assertTrue(raw.headers["x-request-id"])
        self.assertEqual(raw.parse()._request_id, raw.headers["x-request-id"])
        self.assertGreaterEqual(int(raw.headers["openai-processing-ms"]), 0)
        self.assertTrue(raw.headers["x-resultity-job-id"])
        self.assertGreater(float(raw.headers["x-resultity-cost"]), 0)

    def test_the_limit_of_tokens_holds_under_both_names(self):
        for name in ("max_tokens", "max_completion_tokens"):
            answer = self.client.chat.completions.create(
                model=MODEL, messages=MESSAGES, temperature=0, **{name: 3}
            )
            self.assertEqual((answer.usage.completion_tokens, answer.choices[0].finish_reason), (3, "length"))

    def test_a_stop_text_ends_the_answer_and_is_not_in_it(self):
        for stop in (["Paris"], "Paris"):
            answer = self.ask(stop=stop)
            self.assertEqual(answer.choices[0].finish_reason, "stop")
            self.assertNotIn("Paris", answer.choices[0].message.content)
            self.assertTrue(answer.choices[0].message.content.startswith("The capital of France"))

    def test_a_seed_repeats_an_answer(self):
        first, second = (self.ask(temperature=1, seed=7, max_tokens=6) for _ in range(2))
        self.assertEqual(first.choices[0].message.content, second.choices[0].message.content)

    def test_content_may_come_in_parts(self):
        parts = [{"type": "text", "text": "What is the capital "}, {"type": "text", "text": "of France?"}]
        answer = self.ask(messages=[MESSAGES[0], {"role": "user", "content": parts}])
        self.assertIn("Paris", answer.choices[0].message.content)

    def test_options_that_are_off_may_be_null(self):
        answer = self.ask(stop=None, seed=None, user=None, stream=None, tools=None, max_completion_tokens=None)
        self.assertIn("Paris", answer.choices[0].message.content)

    def test_who_asks_is_kept_from_the_engine_and_does_no_harm(self):
        answer = self.ask(user="somebody", metadata={"team": "a"}, store=False, safety_identifier="x", max_tokens=2)
        self.assertTrue(answer.choices[0].message.content)


class Streamed(unittest.TestCase):
    def setUp(self):
        self.client = openai.OpenAI(**OPTIONS)
        self.addCleanup(self.client.close)

    def test_it_says_the_same_as_the_whole_answer(self):
        whole = self.client.chat.completions.create(**QUESTION)
        stream = self.client.chat.completions.create(
            **QUESTION, stream=True, stream_options={"include_usage": True}
        )
        text, reasons, usages, ids = "", [], [], set()
        for index, chunk in enumerate(stream):
            self.assertEqual((chunk.object, chunk.model), ("chat.completion.chunk", MODEL))
            ids.add((chunk.id, chunk.created))
            if index == 0:
                self.assertEqual(chunk.choices[0].delta.role, "assistant")
            for choice in chunk.choices:
                text += choice.delta.content or ""
                reasons += [choice.finish_reason] if choice.finish_reason else []
            if chunk.usage:
                self.assertEqual(chunk.choices, [], "usage comes in a chunk of its own")
                usages.append(chunk.usage)
        self.assertEqual(text, whole.choices[0].message.content)
        self.assertEqual(reasons, [whole.choices[0].finish_reason])
        self.assertEqual([usage.completion_tokens for usage in usages], [whole.usage.completion_tokens])
        self.assertEqual([usage.prompt_tokens for usage in usages], [whole.usage.prompt_tokens])
        self.assertEqual(len(ids), 1, "one id and one time for all chunks")

    def test_without_being_asked_it_says_no_usage(self):
        for chunk in self.client.chat.completions.create(**QUESTION, stream=True):
            self.assertIsNone(chunk.usage)
            self.assertEqual(len(chunk.choices), 1)

    def test_the_helper_puts_the_answer_together(self):
        with self.client.chat.completions.stream(**QUESTION) as stream:
            final = stream.get_final_completion()
        self.assertIn("Paris", final.choices[0].message.content)

    def test_one_that_is_left_early_does_no_harm(self):
        stream = self.client.chat.completions.create(**{**QUESTION, "max_tokens": 64}, stream=True)
        next(iter(stream))
        stream.close()
        self.assertIn("Paris", self.client.chat.completions.create(**QUESTION).choices[0].message.content)


class WithTheAsyncClient(unittest.IsolatedAsyncioTestCase):
    async def test_several_answers_at_once(self):
        async with openai.AsyncOpenAI(**OPTIONS) as client:
            asked = [client.chat.completions.create(**QUESTION) for _ in range(3)]
            texts = [answer.choices[0].message.content for answer in await asyncio.gather(*asked)]
        for text in texts:
            self.assertIn("Paris", text)

    async def test_a_stream(self):
        async with openai.AsyncOpenAI(**OPTIONS) as client:
            stream = await client.chat.completions.create(**QUESTION, stream=True)
            parts = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
        self.assertIn("Paris", "".join(parts))
        self.assertGreater(len(parts), 2, "it comes in pieces")

    async def test_the_models(self):
        async with openai.AsyncOpenAI(**OPTIONS) as client:
            self.assertIn(MODEL, [model.id async for model in client.models.list()])
