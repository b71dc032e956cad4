"""LangChain: `OpenAIEmbeddings`, with its defaults, which send the ids of OpenAI's vocabulary, and with plain texts."""

import unittest

from langchain_core.vectorstores import InMemoryVectorStore
from langchain_openai import OpenAIEmbeddings
from setting import API_KEY, BASE_URL, EMBEDDING_MODEL, ENGINE

OPTIONS = {"base_url": BASE_URL, "api_key": API_KEY, "model": EMBEDDING_MODEL, "max_retries": 0}
TEXTS = ["A cat sat on the mat.", "Stocks fell on Monday."]


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
                store = InMemoryVectorStore.from_texts(TEXTS, OpenAIEmbeddings(**OPTIONS, **options))
                (found,) = store.similarity_search("Where does the kitten sleep?", k=1)
                self.assertEqual(found.page_content, TEXTS[0])

    async def test_asynchronously(self):
        embeddings = OpenAIEmbeddings(**OPTIONS, check_embedding_ctx_length=False)
        self.assertTrue(await embeddings.aembed_query("cats"))
