"""Every command of the client's command line that asks a node."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest

from command_line import run
from setting import COORDINATOR, NODE, SIGNER, SUBSCRIPTION, WALLET, chain, open_gate


class Commands(unittest.TestCase):
    def text(self, *arguments, **data):
        code, out, err = run(*arguments, stdin=json.dumps(data))
        self.assertEqual(code, 0, f"{arguments}: {out}{err}")
        return out

    def json(self, *arguments, **data):
        return json.loads(self.text(*arguments, **data))

    def test_health(self):
        self.assertEqual(self.text("health", "--url", NODE), "healthy\n")

    def test_health_as_it_is_installed(self):
        command = pathlib.Path(sys.executable).with_name("infernet-client")
        out = subprocess.run([command, "health"], env={**os.environ, "SERVER_URL": NODE}, capture_output=True, text=True)
        self.assertEqual((out.returncode, out.stdout), (0, "healthy\n"), out.stderr)

    def test_info(self):
        info = self.json("info", "--url", NODE)
        self.assertIn("echo", [container["id"] for container in info["containers"]])
        self.assertEqual(info["chain"]["enabled"], WALLET is not None)

    def test_resources(self):
        resources = self.json("resources", "--node", NODE)
        self.assertEqual(resources["echo"]["service_id"], "echo")

    def test_check_model(self):
        support = self.json("check-model", "-n", NODE, "-m", "huggingface/org/model:model.onnx")
        self.assertEqual((support["service"], support["echo"]), ({"supported": True}, {"supported": False}))

    def test_job(self):
        job_id = self.text("job", "--url", NODE, "-c", "upper,echo", text="a").strip()
        end = time.monotonic() + 30
        while True:
            (job,) = self.json("results", "--url", NODE, "--id", job_id, "--intermediate")
            if job["status"] != "running":
                break
            self.assertLess(time.monotonic(), end)
        self.assertEqual(job["result"]["output"]["data"], {"text": "A"})
        self.assertEqual(job["intermediate_results"], [{"container": "upper", "output": {"text": "A"}}])
        twice = self.json("results", "--url", NODE, "--id", job_id, "--id", job_id)
        self.assertTrue(all(job["id"] == job_id for job in twice))

    def test_job_sync(self):
        self.assertEqual(self.json("job", "--url", NODE, "-c", "upper", "--sync", text="a"), {"text": "A"})
        failed = self.text("job", "--url", NODE, "-c", "fail", "--sync", message="out of paper")
        self.assertEqual(failed, "out of paper\n")
        proved = self.json("job", "--url", NODE, "-c", "prover", "--sync", "--requires-proof", "true")
        self.assertIs(proved["requires_proof"], True)

    def test_job_that_is_refused(self):
        code, _, err = run("job", "--url", NODE, "-c", "nobody", stdin="{}")
        self.assertEqual(code, 1)
        self.assertIn("[405] Container not supported - [container=nobody]", err)

    def test_stream(self):
        first, *rest = self.text("stream", "--url", NODE, "-c", "stream", text="one two").splitlines()
        self.assertRegex(first, r"^Job ID: [0-9a-f-]{36}$")
        self.assertEqual(rest, ["one two"])

    def test_ids(self):
        done = self.text("job", "--url", NODE, "-c", "echo").strip()
        running = self.text("job", "--url", NODE, "-c", "slow", gate="ids").strip()
        self.assertIn(running, self.json("ids", "--url", NODE, "--status", "pending"))
        self.assertNotIn(running, self.json("ids", "--url", NODE, "--status", "completed"))
        self.assertLessEqual({done, running}, set(self.json("ids", "--url", NODE)))
        open_gate("ids")

    def test_sub(self):
        with tempfile.TemporaryDirectory() as folder, chain() as rpc:
            folder = pathlib.Path(folder)
            (folder / "params.json").write_text(json.dumps(SUBSCRIPTION))
            (folder / "key").write_text(f"{SIGNER.key.hex()}\n")
            code, out, err = run(
                *("sub", "--url", NODE, "--rpc-url", rpc, "--address", COORDINATOR, "--nonce", "100"),
                *("--params", str(folder / "params.json"), "--key", str(folder / "key")),
                *("--expiry", str(int(time.time()) + 60)),
                stdin=json.dumps({"text": "a"}),
            )
        if WALLET:
            self.assertEqual((code, out), (0, "Success: Subscription created.\n"), err)
        else:
            self.assertEqual(code, 1)
            self.assertIn("[405] Chain not enabled", err)
