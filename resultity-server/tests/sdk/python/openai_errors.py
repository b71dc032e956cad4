"""Errors through OpenAI's SDK: its own exception types, with status, code and param."""

import unittest

import openai
from setting import API_KEY, OPTIONS, QUESTION


class Refused(unittest.TestCase):
    def setUp(self):
        self.client = openai.OpenAI(**OPTIONS)
        self.addCleanup(self.client.close)

    def refused(self, exception, **changes):
        with self.assertRaises(exception) as caught:
            self.client.chat.completions.create(**{**QUESTION, **changes})
        error = caught.exception
        self.assertTrue(error.request_id)
        return error.status_code, error.code, error.param

    def test_an_unknown_model(self):
        found = self.refused(openai.NotFoundError, model="no-such-model")
        self.assertEqual(found, (404, "model_not_found", "model"))
        with self.assertRaises(openai.NotFoundError) as caught:
            self.client.models.retrieve("nobody/no-such-model")
        self.assertEqual(caught.exception.code, "model_not_found")

    def test_a_stream_that_cannot_begin_is_a_plain_error(self):
        found = self.refused(openai.NotFoundError, model="no-such-model", stream=True)
        self.assertEqual(found, (404, "model_not_found", "model"))

    def test_the_field_is_named(self):
        cases = [
            ({"temperature": 3}, "temperature"),
            ({"top_p": -1}, "top_p"),
            ({"n": 0}, "n"),
            ({"max_tokens": 0}, "max_tokens"),
            ({"max_tokens": "many"}, "max_tokens"),
            ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
            ({"presence_penalty": 3}, "presence_penalty"),
            ({"frequency_penalty": "high"}, "frequency_penalty"),
            ({"messages": []}, "messages"),
            ({"messages": "hello"}, "messages"),
            ({"messages": [{"role": "king", "content": "hello"}]}, "messages[0].role"),
            ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
            ({"stream_options": {"include_usage": True}}, "stream_options"),
        ]
        for changes, param in cases:
            with self.subTest(changes=changes):
                status, _, named = self.refused(openai.BadRequestError, **changes)
                self.assertEqual((status, named), (400, param))

    def test_too_much_for_the_context(self):
        status, code, _ = self.refused(openai.BadRequestError, max_tokens=1_000_000)
        self.assertEqual((status, code), (400, "context_length_exceeded"))

    def test_what_is_not_built_says_so(self):
        with self.assertRaises(openai.InternalServerError) as caught:
            self.client.moderations.create(input="hello")
        self.assertEqual((caught.exception.status_code, caught.exception.code), (501, "not_implemented"))

    def test_no_two_requests_have_one_id(self):
        ids = set()
        for _ in range(3):
            raw = self.client.models.with_raw_response.list()
            ids.add(raw.headers["x-request-id"])
        self.assertEqual(len(ids), 3)


class Keys(unittest.TestCase):
    def test_a_wrong_one_is_refused_everywhere(self):
        with openai.OpenAI(**{**OPTIONS, "api_key": "rk_test_not_a_key"}) as client:
            asks = [
                client.models.list,
                lambda: client.chat.completions.create(**QUESTION),
                lambda: client.chat.completions.create(**QUESTION, stream=True),
            ]
            for ask in asks:
                with self.assertRaises(openai.AuthenticationError) as caught:
                    ask()
                self.assertEqual((caught.exception.status_code, caught.exception.code), (401, "invalid_api_key"))
                self.assertNotIn("rk_test_not_a_key", str(caught.exception))

    def test_the_scheme_may_be_written_as_one_likes(self):
        for scheme in ("Bearer", "bearer", "BEARER"):
            headers = {"Authorization": f"{scheme} {API_KEY}"}
            with openai.OpenAI(**{**OPTIONS, "api_key": "unused"}, default_headers=headers) as client:
                self.assertTrue(client.models.list().data)
