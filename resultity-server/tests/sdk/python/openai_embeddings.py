"""Embeddings through OpenAI's SDK, which asks for base64 by itself."""

import asyncio
import math
import unittest

import openai
from setting import EMBEDDING_MODEL, ENGINE, OPTIONS


def likeness(one, other):
    product = sum(a * b for a, b in zip(one, other))
    return product / math.sqrt(sum(a * a for a in one) * sum(b * b for b in other))


class Embeddings(unittest.TestCase):
    def setUp(self):
        self.client = openai.OpenAI(**OPTIONS)
        self.addCleanup(self.client.close)

    def embed(self, texts, **options):
        return self.client.embeddings.create(model=EMBEDDING_MODEL, input=texts, **options)

    def test_one_text(self):
        answer = self.embed("What is love?")
        self.assertEqual((answer.object, answer.model), ("list", EMBEDDING_MODEL))
        (entry,) = answer.data
        self.assertEqual((entry.object, entry.index), ("embedding", 0))
        self.assertTrue(all(isinstance(number, float) for number in entry.embedding))
        self.assertTrue(any(entry.embedding))
        self.assertGreater(answer.usage.prompt_tokens, 0)
        self.assertEqual(answer.usage.total_tokens, answer.usage.prompt_tokens)

    def test_numbers_are_the_same_however_they_are_written(self):
        packed = self.embed("What is love?").data[0].embedding
        written = self.embed("What is love?", encoding_format="float").data[0].embedding
        self.assertEqual(len(packed), len(written))
        for one, other in zip(packed, written):
            self.assertAlmostEqual(one, other, places=5)

    def test_several_texts_keep_their_order(self):
        texts = ["A cat sat on the mat.", "Stocks fell on Monday.", "A kitten lay on the rug."]
        answer = self.embed(texts)
        self.assertEqual([entry.index for entry in answer.data], [0, 1, 2])
        alone = [self.embed(text).data[0].embedding for text in texts]
        for entry, expected in zip(answer.data, alone):
            self.assertGreater(likeness(entry.embedding, expected), 0.999)
        cat, stocks, kitten = (entry.embedding for entry in answer.data)
        if ENGINE == "embedded":
            self.assertGreater(likeness(cat, kitten), likeness(cat, stocks) + 0.2, "a real model of meaning")

    def test_token_ids_stand_for_a_text(self):
        for ids in ([1, 2, 3], [[1, 2, 3], [4, 5]]):
            answer = self.embed(ids)
            self.assertEqual(len(answer.data), 1 if ids == [1, 2, 3] else 2)

    def test_what_can_not_be_done_is_refused_by_name(self):
        cases = [
            ({"texts": []}, "input"),
            ({"texts": ""}, "input"),
            ({"texts": ["a", ""]}, "input[1]"),
            ({"texts": {"text": "a"}}, "input"),
            ({"texts": "a", "encoding_format": "hex"}, "encoding_format"),
            ({"texts": "a", "dimensions": 0}, "dimensions"),
            ({"texts": "a", "dimensions": 100_000}, "dimensions"),
        ]
        for arguments, param in cases:
            with self.subTest(arguments=arguments), self.assertRaises(openai.BadRequestError) as caught:
                self.embed(**arguments)
            self.assertEqual((caught.exception.status_code, caught.exception.param), (400, param))

    def test_an_unknown_model(self):
        with self.assertRaises(openai.NotFoundError) as caught:
            self.client.embeddings.create(model="no-such-model", input="a")
        self.assertEqual(caught.exception.code, "model_not_found")

    def test_the_async_client(self):
        async def ask():
            async with openai.AsyncOpenAI(**OPTIONS) as client:
                return await client.embeddings.create(model=EMBEDDING_MODEL, input=["a", "b"])

        self.assertEqual(len(asyncio.run(ask()).data), 2)
