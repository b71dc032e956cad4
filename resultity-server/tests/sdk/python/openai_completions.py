"""The legacy completions through OpenAI's SDK."""

import asyncio
import unittest

import openai
from setting import ENGINE, MODEL, OPTIONS

FRANCE, ITALY = "The capital of France is", "The capital of Italy is"
PROMPT = {"model": MODEL, "prompt": FRANCE, "temperature": 0, "max_tokens": 4}


class Completions(unittest.TestCase):
    def setUp(self):
        self.client = openai.OpenAI(**OPTIONS)
        self.addCleanup(self.client.close)

    def ask(self, **changes):
        return self.client.completions.create(**{**PROMPT, **changes})

    def test_a_prompt_is_gone_on_with(self):
        answer = self.ask()
        self.assertEqual((answer.object, answer.model), ("text_completion", MODEL))
        self.assertTrue(answer.id.startswith("cmpl"))
        (choice,) = answer.choices
        self.assertIn("Paris", choice.text)
        self.assertFalse(choice.text.startswith(FRANCE), "the prompt is not in it")
        self.assertEqual((choice.index, choice.finish_reason, choice.logprobs), (0, "length", None))
        self.assertEqual(answer.usage.completion_tokens, 4)
        self.assertGreater(answer.usage.prompt_tokens, 0)
        self.assertEqual(answer.usage.total_tokens, answer.usage.prompt_tokens + 4)

    def test_several_prompts_with_several_choices_each(self):
        answer = self.ask(prompt=[FRANCE, ITALY], n=2)
        self.assertEqual([choice.index for choice in answer.choices], [0, 1, 2, 3])
        for choice, capital in zip(answer.choices, ["Paris", "Paris", "Rome", "Rome"]):
            self.assertIn(capital, choice.text)
        # llama.cpp counts one choice of each prompt alone.
        self.assertEqual(answer.usage.completion_tokens, 16 if ENGINE == "embedded" else 8)

    def test_the_prompt_is_repeated_where_that_is_asked_for(self):
        self.assertTrue(self.ask(echo=True).choices[0].text.startswith(FRANCE))

    def test_a_stop_text_ends_it(self):
        (choice,) = self.ask(stop=["."], max_tokens=12).choices
        self.assertNotIn(".", choice.text)
        self.assertEqual(choice.finish_reason, "stop")

    def test_a_stream_says_the_same(self):
        whole = self.ask()
        stream = self.ask(stream=True, stream_options={"include_usage": True})
        text, usages, ids = "", [], set()
        for chunk in stream:
            self.assertEqual(chunk.object, "text_completion")
            ids.add(chunk.id)
            text += "".join(choice.text for choice in chunk.choices)
            if chunk.usage:
                usages.append(chunk.usage.completion_tokens)
        self.assertEqual(text, whole.choices[0].text)
        self.assertEqual(usages, [4])
        self.assertEqual(len(ids), 1)

    def test_log_probabilities(self):
        logprobs = self.ask(logprobs=2).choices[0].logprobs
        self.assertEqual(len(logprobs.tokens), 4)
        self.assertEqual(len(logprobs.token_logprobs), 4)
        self.assertEqual(len(logprobs.text_offset), 4)
        self.assertIn("Paris", "".join(logprobs.tokens))
        for token, logprob, top in zip(logprobs.tokens, logprobs.token_logprobs, logprobs.top_logprobs):
            self.assertLessEqual(logprob, 0)
            self.assertTrue(1 <= len(top) <= 3)
            self.assertAlmostEqual(top[token], logprob, places=3, msg="at temperature 0 the likeliest is taken")

    def test_what_can_not_be_done_is_refused_by_name(self):
        cases = [
            ({"suffix": "."}, "suffix"),
            ({"best_of": 0}, "best_of"),
            ({"logprobs": 50}, "logprobs"),
            ({"max_tokens": -1}, "max_tokens"),
            ({"prompt": []}, "prompt"),
            ({"prompt": ["a", 1]}, "prompt"),
            ({"echo": "yes"}, "echo"),
        ]
        for changes, param in cases:
            with self.subTest(changes=changes), self.assertRaises(openai.BadRequestError) as caught:
                self.ask(**changes)
            self.assertEqual((caught.exception.status_code, caught.exception.param), (400, param))

    def test_the_async_client(self):
        async def ask():
            async with openai.AsyncOpenAI(**OPTIONS) as client:
                answer = await client.completions.create(**PROMPT)
                stream = await client.completions.create(**PROMPT, stream=True)
                text = "".join([choice.text async for chunk in stream for choice in chunk.choices])
            return answer.choices[0].text, text

        whole, streamed = asyncio.run(ask())
        self.assertIn("Paris", whole)
        self.assertEqual(streamed, whole)
