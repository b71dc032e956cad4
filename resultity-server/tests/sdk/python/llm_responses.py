"""The command `llm` over the Responses API."""

from llm_chat import Command, entry


class Responses(Command):
    MODELS = [entry("resultity", responses=True)]

    def test_an_answer(self):
        question = ("--system", "You are a helpful assistant.", "What is the capital of France?")
        for how in ((), ("--no-stream",), ("--async",)):
            self.assertIn("Paris", self.ask("resultity", *how, *question, limit="16"))
