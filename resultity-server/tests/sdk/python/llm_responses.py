"""The command `llm` over the Responses API."""

from llm_chat import Command, entry


class Responses(Command):
    MODELS = [entry("resultity", responses=True)]

    def test_an_answer(self):
        for how in ((), ("--no-stream",)):
            output = self.llm("prompt", "-m", "resultity", *how, "--system", "You are a helpful assistant.",
                              "-o", "temperature", "0", "-o", "max_output_tokens", "16", "What is the capital of France?")
            self.assertIn("Paris", output)
