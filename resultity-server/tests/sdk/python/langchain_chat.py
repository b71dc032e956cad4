"""LangChain: `ChatOpenAI` as its users have it, whole, streamed, in parallel, asynchronous."""

import unittest

from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI
from setting import API_KEY, BASE_URL, MODEL

CHAT = {"base_url": BASE_URL, "api_key": API_KEY, "model": MODEL, "temperature": 0, "max_retries": 0}
QUESTION = [SystemMessage("You are a helpful assistant."), HumanMessage("What is the capital of France?")]


class Chat(unittest.IsolatedAsyncioTestCase):
    def setUp(self):
        self.chat = ChatOpenAI(**CHAT, max_tokens=12)

    def test_an_answer_with_its_token_counts(self):
        answer = self.chat.invoke(QUESTION)
        self.assertIn("Paris", answer.content)
        self.assertGreater(answer.usage_metadata["input_tokens"], 0)
        self.assertTrue(0 < answer.usage_metadata["output_tokens"] <= 12)
        self.assertEqual(answer.response_metadata["model_name"], MODEL)

    def test_a_stream(self):
        parts = list(self.chat.stream(QUESTION))
        self.assertIn("Paris", "".join(part.content for part in parts))
        self.assertGreater(len(parts), 2, "it comes in pieces")

    def test_a_stream_with_its_token_counts(self):
        chat = ChatOpenAI(**CHAT, max_tokens=6, stream_usage=True)
        whole = None
        for part in chat.stream(QUESTION):
            whole = part if whole is None else whole + part
        self.assertTrue(0 < whole.usage_metadata["output_tokens"] <= 6)

    def test_several_at_once(self):
        for answer in self.chat.batch([QUESTION, QUESTION]):
            self.assertIn("Paris", answer.content)

    def test_a_chain(self):
        prompt = ChatPromptTemplate.from_messages(
            [("system", "You are a helpful assistant."), ("user", "What is the capital of {country}?")]
        )
        chain = prompt | self.chat | StrOutputParser()
        self.assertIn("Paris", chain.invoke({"country": "France"}))

    async def test_asynchronously(self):
        self.assertIn("Paris", (await self.chat.ainvoke(QUESTION)).content)
        parts = [part.content async for part in self.chat.astream(QUESTION)]
        self.assertIn("Paris", "".join(parts))
