"""The command `llm`, told of the models in its `extra-openai-models.yaml`."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

from setting import API_KEY, BASE_URL, MODEL

LLM = str(pathlib.Path(sys.executable).with_name("llm"))


def entry(model_id, **extra):
    return {"model_id": model_id, "model_name": MODEL, "api_base": BASE_URL, "api_key_name": "resultity", **extra}


class Command(unittest.TestCase):
    # YAML is a superset of JSON.
    MODELS = [entry("resultity")]

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.environment = {**os.environ, "LLM_USER_PATH": folder.name}
        path = pathlib.Path(folder.name)
        (path / "extra-openai-models.yaml").write_text(json.dumps(self.MODELS))
        (path / "keys.json").write_text(json.dumps({"resultity": API_KEY}))

    def llm(self, *arguments):
        run = subprocess.run(
            [LLM, *arguments], env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120
        )
        self.assertEqual(run.returncode, 0, run.stderr)
        return run.stdout

    def ask(self, model, *arguments, limit="12"):
        options = ("-o", "temperature", "0", "-o", "max_tokens", limit)
        return self.llm("prompt", "-m", model, *options, *arguments)


class Chat(Command):
    QUESTION = ("--system", "You are a helpful assistant.", "What is the capital of France?")

    def test_it_knows_the_model(self):
        self.assertIn("resultity", self.llm("models", "list"))

    def test_a_stream(self):
        self.assertIn("Paris", self.ask("resultity", *self.QUESTION))

    def test_a_whole_answer(self):
        self.assertIn("Paris", self.ask("resultity", "--no-stream", *self.QUESTION))

    def test_the_asynchronous_client(self):
        self.assertIn("Paris", self.ask("resultity", "--async", *self.QUESTION))

    def test_the_token_counts_are_logged(self):
        self.ask("resultity", *self.QUESTION, limit="4")
        (log,) = json.loads(self.llm("logs", "list", "--count", "1", "--json"))
        self.assertGreater(log["input_tokens"], 0)
        self.assertEqual(log["output_tokens"], 4)

    def test_a_wrong_key_is_a_plain_message(self):
        run = subprocess.run(
            [LLM, "prompt", "-m", "resultity", "--key", "rk_test_wrong", "hello"],
            env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
        )
        self.assertNotEqual(run.returncode, 0)
        self.assertIn("API key", run.stderr)
