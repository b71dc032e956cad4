"""What an app does that uses OpenAI's Python SDK: only the base URL and the key are ours.

Started by openai_sdk.rs, which sets RESULTITY_BASE_URL, RESULTITY_API_KEY and RESULTITY_MODEL.
"""

import asyncio
import os
import unittest

import openai

BASE_URL = os.environ["RESULTITY_BASE_URL"]
API_KEY = os.environ["RESULTITY_API_KEY"]
MODEL = os.environ["RESULTITY_MODEL"]

QUESTION = {
    "model": MODEL,
    # Without the first message this small model answers in something like French.
    "messages": [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "What is the capital of France?"},
    ],
    "temperature": 0,
    "max_tokens": 24,
}
OPTIONS = {"base_url": BASE_URL, "timeout": 120, "max_retries": 0}


class WithTheRightKey(unittest.TestCase):
    def setUp(self):
        self.client = openai.OpenAI(api_key=API_KEY, **OPTIONS)
        self.addCleanup(self.client.close)

    def test_models_are_listed_and_found_by_name(self):
        self.assertIn(MODEL, [model.id for model in self.client.models.list()])
        found = self.client.models.retrieve(MODEL)
        self.assertEqual((found.id, found.object), (MODEL, "model"))

    def test_an_answer_comes_with_its_token_counts(self):
        answer = self.client.chat.completions.create(**QUESTION)
        self.assertEqual(answer.object, "chat.completion")
        self.assertEqual(answer.choices[0].message.role, "assistant")
        self.assertIn("Paris", answer.choices[0].message.content)
        self.assertIn(answer.choices[0].finish_reason, ("stop", "length"))
        usage = answer.usage
        self.assertGreater(usage.prompt_tokens, 0)
        self.assertTrue(0 < usage.completion_tokens <= 24)
        self.assertEqual(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens)

    def test_a_stream_says_the_same_as_the_whole_answer(self):
        whole = self.client.chat.completions.create(**QUESTION)
        stream = self.client.chat.completions.create(
            **QUESTION, stream=True, stream_options={"include_usage": True}
        )
        text, reasons, usages = "", [], []
        for chunk in stream:
            self.assertEqual(chunk.object, "chat.completion.chunk")
            for choice in chunk.choices:
                text += choice.delta.content or ""
                reasons += [choice.finish_reason] if choice.finish_reason else []
            if chunk.usage:
                self.assertEqual(chunk.choices, [], "usage comes in a chunk of its own")
                usages.append(chunk.usage)
        self.assertEqual(text, whole.choices[0].message.content)
        self.assertEqual(reasons, [whole.choices[0].finish_reason])
        self.assertEqual(usages, [whole.usage])

    def test_the_stream_helper_puts_the_answer_together(self):
        with self.client.chat.completions.stream(**QUESTION) as stream:
            final = stream.get_final_completion()
        self.assertIn("Paris", final.choices[0].message.content)

    def test_the_request_can_be_named_to_support(self):
        raw = self.client.chat.completions.with_raw_response.create(**QUESTION)
        self.assertTrue(raw.headers["x-request-id"])
        self.assertEqual(raw.parse()._request_id, raw.headers["x-request-id"])

    def test_an_unknown_model_is_not_found(self):
        with self.assertRaises(openai.NotFoundError) as caught:
            self.client.chat.completions.create(**{**QUESTION, "model": "no-such-model"})
        error = caught.exception
        self.assertEqual((error.status_code, error.code, error.param), (404, "model_not_found", "model"))
        self.assertTrue(error.request_id)

    def test_a_bad_temperature_is_named(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            self.client.chat.completions.create(**{**QUESTION, "temperature": 3})
        error = caught.exception
        self.assertEqual((error.status_code, error.type, error.param), (400, "invalid_request_error", "temperature"))

    def test_a_stream_that_cannot_begin_is_a_plain_error(self):
        with self.assertRaises(openai.NotFoundError):
            self.client.chat.completions.create(**{**QUESTION, "model": "no-such-model"}, stream=True)


class WithTheAsyncClient(unittest.IsolatedAsyncioTestCase):
    async def test_several_answers_at_once(self):
        async with openai.AsyncOpenAI(api_key=API_KEY, **OPTIONS) as client:
            asked = [client.chat.completions.create(**QUESTION) for _ in range(3)]
            texts = {answer.choices[0].message.content for answer in await asyncio.gather(*asked)}
        self.assertEqual(len(texts), 1, "the same question gets the same answer at temperature 0")

    async def test_a_stream(self):
        async with openai.AsyncOpenAI(api_key=API_KEY, **OPTIONS) as client:
            stream = await client.chat.completions.create(**QUESTION, stream=True)
            parts = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
        self.assertIn("Paris", "".join(parts))
        self.assertGreater(len(parts), 2, "it comes in pieces")


class WithAWrongKey(unittest.TestCase):
    def test_nobody_is_let_in(self):
        with openai.OpenAI(api_key="rk_test_not_a_key", **OPTIONS) as client:
            for ask in (client.models.list, lambda: client.chat.completions.create(**QUESTION)):
                with self.assertRaises(openai.AuthenticationError) as caught:
                    ask()
                error = caught.exception
                self.assertEqual((error.status_code, error.code), (401, "invalid_api_key"))


if __name__ == "__main__":
    print(f"openai {openai.__version__} against {BASE_URL}, model {MODEL}", flush=True)
    unittest.main(verbosity=2)
