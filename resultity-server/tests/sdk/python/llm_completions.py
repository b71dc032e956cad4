"""The command `llm` over the legacy completions."""

from llm_chat import Command, entry


class Completions(Command):
    MODELS = [entry("resultity-text", completion=True)]

    def test_a_prompt_is_gone_on_with(self):
        for how in ((), ("--no-stream",)):
            self.assertIn("Paris", self.ask("resultity-text", *how, "The capital of France is", limit="4"))
