"""LangChain's `ChatOpenAI` over the Responses API."""

import unittest

from langchain_openai import ChatOpenAI
from langchain_chat import CHAT, QUESTION


class Responses(unittest.TestCase):
    def setUp(self):
        self.chat = ChatOpenAI(**CHAT, max_tokens=16, use_responses_api=True)

    def test_an_answer(self):
        answer = self.chat.invoke(QUESTION)
        self.assertIn("Paris", answer.text)
        self.assertGreater(answer.usage_metadata["output_tokens"], 0)

    def test_a_stream(self):
        self.assertIn("Paris", "".join(part.text for part in self.chat.stream(QUESTION)))
