"""LangChain: `OpenAIEmbeddings`, with its defaults, which send the ids of OpenAI's vocabulary, and with plain texts."""

import unittest

from langchain_openai import OpenAIEmbeddings
from setting import API_KEY, BASE_URL, EMBEDDING_MODEL, ENGINE

OPTIONS = {"base_url": BASE_URL, "api_key": API_KEY, "model": EMBEDDING_MODEL, "max_retries": 0}
TEXTS = ["A cat sat on the mat.", "Stocks fell on Monday."]


def likeness(one, other):
    # The vectors have the length 1.
    return sum(a * b for a, b in zip(one, other))


class Embeddings(unittest.IsolatedAsyncioTestCase):
    def test_with_its_defaults(self):
        embeddings = OpenAIEmbeddings(**OPTIONS)
        cat, stocks = embeddings.embed_documents(TEXTS)
        self.assertEqual(len(cat), len(stocks))
        self.assertEqual(len(embeddings.embed_query("cats")), len(cat))
        self.assertNotEqual(cat, stocks)

    def test_the_nearest_text_is_found(self):
        if ENGINE != "embedded":
            self.skipTest("the engine's model is not made for this")
        for options in ({}, {"check_embedding_ctx_length": False}):
            with self.subTest(options=options):
                embeddings = OpenAIEmbeddings(**OPTIONS, **options)
                query = embeddings.embed_query("Where does the kitten sleep?")
                cat, stocks = (likeness(query, text) for text in embeddings.embed_documents(TEXTS))
                self.assertGreater(cat, stocks + 0.1)

    async def test_asynchronously(self):
        embeddings = OpenAIEmbeddings(**OPTIONS, check_embedding_ctx_length=False)
        self.assertTrue(await embeddings.aembed_query("cats"))
