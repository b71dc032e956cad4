"""What is our own beside OpenAI's API, as an app reaches it through the SDK: jobs, usage, credits, dry runs, idempotency."""

import unittest
import uuid

import openai
from setting import MODEL, OPTIONS, QUESTION, wait_until

FINAL = ("succeeded", "failed", "expired", "cancelled")


class Native(unittest.TestCase):
    def setUp(self):
        self.client = openai.OpenAI(**OPTIONS)
        self.addCleanup(self.client.close)

    def get(self, path):
        return self.client.get(path, cast_to=object)

    def submit(self, **changes):
        body = {"endpoint": "/v1/chat/completions", "body": {**QUESTION, **changes}}
        return self.client.post("/jobs", body=body, cast_to=object)

    def ended(self, job):
        return wait_until(lambda: self.get(f"/jobs/{job['id']}"), lambda job: job["status"] in FINAL)

    def test_a_job_is_polled_for(self):
        job = self.submit()
        self.assertEqual((job["object"], job["endpoint"], job["model"]), ("job", "/v1/chat/completions", MODEL))
        ended = self.ended(job)
        self.assertEqual(ended["status"], "succeeded")
        self.assertIn("Paris", ended["result"]["choices"][0]["message"]["content"])
        self.assertGreater(float(ended["cost"]), 0)
        self.assertLessEqual(float(ended["cost"]), float(ended["held"]))
        self.assertTrue(self.get(f"/jobs/{job['id']}/receipt"))
        self.assertIn(job["id"], [entry["id"] for entry in self.get("/jobs?limit=20")["data"]])
        self.assertNotIn("node", str(ended), "no answer tells which node gave it")

    def test_any_job_is_found_by_the_id_that_came_with_its_answer(self):
        raw = self.client.chat.completions.with_raw_response.create(**QUESTION)
        job = self.get(f"/jobs/{raw.headers['x-resultity-job-id']}")
        self.assertEqual((job["status"], job["cost"]), ("succeeded", raw.headers["x-resultity-cost"]))

    def test_a_job_is_cancelled(self):
        job = self.submit(messages=[{"role": "user", "content": "Tell me a long story."}], max_tokens=512)
        self.client.delete(f"/jobs/{job['id']}", cast_to=object)
        self.assertEqual(self.ended(job)["status"], "cancelled")

    def test_the_same_key_gets_the_same_answer_and_is_charged_once(self):
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        ask = self.client.chat.completions.with_raw_response.create
        first, second = (ask(**{**QUESTION, "temperature": 1}, extra_headers=headers) for _ in range(2))
        self.assertEqual(first.text, second.text)
        self.assertEqual(first.headers["x-resultity-job-id"], second.headers["x-resultity-job-id"])
        with self.assertRaises(openai.ConflictError):
            ask(**{**QUESTION, "max_tokens": 3}, extra_headers=headers)

    def test_a_dry_run_says_what_it_would_cost_and_costs_nothing(self):
        before = self.get("/credits")
        quote = self.client.post(
            "/chat/completions", body=QUESTION, cast_to=object, options={"headers": {"x-resultity-dry-run": "true"}}
        )
        self.assertEqual((quote["object"], quote["can_be_served"]), ("dry_run", True))
        self.assertGreater(float(quote["price_ceiling"]), 0)
        self.assertEqual(self.get("/credits")["available"], before["available"])

    def test_what_was_used_is_told(self):
        self.client.chat.completions.create(**QUESTION)
        usage = self.get("/usage")
        self.assertIn(MODEL, str(usage))

    def test_the_limits_are_told(self):
        raw = self.client.chat.completions.with_raw_response.create(**QUESTION)
        for what in ("requests", "tokens"):
            limit = int(raw.headers[f"x-ratelimit-limit-{what}"])
            remaining = int(raw.headers[f"x-ratelimit-remaining-{what}"])
            self.assertTrue(0 <= remaining <= limit)
            self.assertRegex(raw.headers[f"x-ratelimit-reset-{what}"], r"^(\d+h)?(\d+m)?(\d+(\.\d+)?m?s)?$")
