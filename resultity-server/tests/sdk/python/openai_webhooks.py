"""Webhooks, received as an app receives them: `webhooks.unwrap` of OpenAI's SDK says that they are ours."""

import http.server
import queue
import threading
import unittest

import openai
from setting import MODEL, OPTIONS


class Receiver:
    """A small server that keeps what it is sent."""

    def __init__(self):
        self.received = received = queue.Queue()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                received.put((body.decode(), dict(self.headers.items())))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Webhooks(unittest.TestCase):
    def setUp(self):
        self.receiver = Receiver()
        self.addCleanup(self.receiver.close)
        self.client = openai.OpenAI(**OPTIONS)
        self.addCleanup(self.client.close)
        self.hook = self.client.post("/webhooks", body={"url": self.receiver.url}, cast_to=object)
        self.addCleanup(lambda: self.client.delete(f"/webhooks/{self.hook['id']}", cast_to=object))

    def ask(self, **changes):
        return self.client.responses.create(
            **{"model": MODEL, "input": "Say yes.", "max_output_tokens": 16, "background": True, **changes}
        )

    def event_of(self, response_id):
        while True:
            body, headers = self.receiver.received.get(timeout=60)
            event = self.client.webhooks.unwrap(body, headers, secret=self.hook["secret"])
            if event.data.id == response_id:
                return event, body, headers

    def test_the_end_of_a_response_is_told(self):
        response = self.ask()
        event, _, headers = self.event_of(response.id)
        self.assertEqual(event.object, "event")
        self.assertIn(event.type, ("response.completed", "response.incomplete"))
        self.assertEqual(event.type, f"response.{self.client.responses.retrieve(response.id).status}")
        self.assertEqual(event.id, {name.lower(): value for name, value in headers.items()}["webhook-id"])

    def test_so_is_its_cancelling(self):
        response = self.ask(input="Tell me a long story.", max_output_tokens=512)
        self.client.responses.cancel(response.id)
        self.assertEqual(self.event_of(response.id)[0].type, "response.cancelled")

    def test_what_was_changed_on_the_way_is_not_taken(self):
        _, body, headers = self.event_of(self.ask().id)
        with self.assertRaises(openai.InvalidWebhookSignatureError):
            self.client.webhooks.unwrap(body + " ", headers, secret=self.hook["secret"])
        with self.assertRaises(openai.InvalidWebhookSignatureError):
            self.client.webhooks.unwrap(body, headers, secret="whsec_c29tZWJvZHkgZWxzZQ==")
