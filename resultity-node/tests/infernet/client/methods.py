"""Every method of the client's `NodeClient`, as its own users call them."""

import asyncio
import time
import unittest
import uuid

from infernet_client import NodeClient
from infernet_client.chain.rpc import RPC
from infernet_client.chain.subscription import Subscription
from infernet_client.error import APIError
from infernet_ml.utils.spec import ServiceResources
from setting import CHAIN_ID, COORDINATOR, NODE, SIGNER, SUBSCRIPTION, WALLET, chain, open_gate


def job(*containers, **data):
    return {"containers": list(containers), "data": data}


class Methods(unittest.IsolatedAsyncioTestCase):
    def setUp(self):
        self.client = NodeClient(NODE)

    async def refused(self, asked, status, message, **params):
        with self.assertRaises(APIError) as caught:
            await asked
        error = caught.exception
        self.assertEqual((error.status_code, error.message, error.params), (status, message, params))

    async def ended(self, job_id):
        """As `get_job_result_sync`, which waits for a second between two questions."""
        end = time.monotonic() + 30
        while True:
            (result,) = await self.client.get_job_results([job_id])
            if result["status"] != "running":
                return result
            self.assertLess(time.monotonic(), end)
            await asyncio.sleep(0.01)

    async def result(self, request):
        return await self.ended(await self.client.request_job(request))

    async def test_health(self):
        self.assertIs(await self.client.health(timeout=10), True)

    async def test_get_info(self):
        info = await self.client.get_info(timeout=10)
        self.assertEqual(set(info), {"version", "containers", "pending", "chain"})
        chain = {"enabled": True, "address": WALLET} if WALLET else {"enabled": False, "address": ""}
        self.assertEqual(info["chain"], chain)
        self.assertEqual(set(info["pending"]), {"offchain", "onchain"})
        containers = {container["id"]: container for container in info["containers"]}
        echo = {"id": "echo", "description": "gives back what it gets", "external": True, "image": "test/echo:1"}
        self.assertEqual(containers["echo"], echo)
        self.assertIs(containers["internal"]["external"], False)
        self.assertEqual(containers["internal"]["description"], "")

    async def test_get_resources(self):
        resources = await self.client.get_resources(timeout=10)
        self.assertEqual(resources["echo"]["service_id"], "echo")
        self.assertNotIn("down", resources)
        self.assertNotIn("fail", resources)
        # What a container of the ecosystem's library says is what that library reads.
        made = ServiceResources(**resources["service"])
        self.assertEqual(made.service_id, "a-service")
        self.assertEqual(made.model_dump(mode="json"), resources["service"])

    async def test_check_model_support(self):
        async def support(model):
            return await self.client.check_model_support(model, timeout=10)

        known = await support("huggingface/org/model:model.onnx")
        self.assertEqual(known["service"], {"supported": True})
        self.assertEqual(known["echo"], {"supported": False})
        unknown = await support("huggingface/org/model:model.torch")
        self.assertEqual(unknown["service"], {"supported": False})
        strange = await support("broken")
        self.assertEqual(strange["echo"], {"supported": False, "error": "broken is no model id"})
        self.assertIs(strange["service"]["supported"], False)
        self.assertTrue(strange["service"]["error"])

    async def test_request_job(self):
        job_id = await self.client.request_job(job("echo", text="Grüße", big=2**255))
        uuid.UUID(job_id)
        result = await self.client.get_job_result_sync(job_id)
        self.assertEqual(set(result), {"id", "status", "result"})
        self.assertEqual((result["id"], result["status"]), (job_id, "success"))
        self.assertEqual(result["result"]["container"], "echo")
        self.assertEqual(result["result"]["output"]["data"], {"text": "Grüße", "big": 2**255})

    async def test_request_job_of_the_ecosystems_library(self):
        result = await self.result(job("service", prompt="a b"))
        self.assertEqual(result["result"]["output"], {"words": ["a", "b"], "proved": False})
        failed = await self.result(job("service"))
        self.assertEqual(failed["status"], "failed")
        self.assertEqual(failed["result"], {"container": "service", "error": "no prompt"})

    async def test_request_job_that_fails(self):
        result = await self.result(job("fail", message="out of paper"))
        self.assertEqual(result["status"], "failed")
        self.assertEqual(result["result"], {"container": "fail", "error": "out of paper"})

    async def test_request_job_that_is_refused(self):
        ask = self.client.request_job
        await self.refused(ask(job()), 405, "No containers specified")
        await self.refused(ask(job("nobody")), 405, "Container not supported", container="nobody")
        internal = ask(job("internal"))
        await self.refused(internal, 405, "First container must be external", first_container="internal")
        unproven = ask({**job("echo"), "requires_proof": True})
        await self.refused(unproven, 405, "Container does not generate proof", container="echo")
        closed = ask(job("closed"))
        message = "Container not allowed for address"
        await self.refused(closed, 405, message, container="closed", address="127.0.0.1")
        with self.assertRaises(APIError) as caught:
            await ask({"containers": ["echo"], "data": "text"})
        self.assertEqual(caught.exception.status_code, 400)

    async def test_request_job_with_a_proof(self):
        for wanted in (True, False, None):
            result = await self.result({**job("prover"), "requires_proof": wanted})
            self.assertIs(result["result"]["output"]["requires_proof"], wanted is True)

    async def test_request_jobs(self):
        jobs = [job("echo", n=1), job("nobody"), job("upper", text="a"), {"data": {}}]
        answers = await self.client.request_jobs(jobs)
        self.assertEqual(answers[1], {"error": "Container not supported", "params": {"container": "nobody"}})
        self.assertEqual(answers[3]["error"], "Could not parse message")
        first, second = [await self.ended(answers[index]["id"]) for index in (0, 2)]
        self.assertEqual(first["result"]["output"]["data"], {"n": 1})
        self.assertEqual(second["result"]["output"], {"text": "A"})
        self.assertEqual(await self.client.request_jobs([]), [])
        await self.refused(self.client.request_jobs(job("echo")), 400, "Expected a list")

    async def test_get_job_result_sync(self):
        self.assertIsNone(await self.client.get_job_result_sync(str(uuid.uuid4())))
        job_id = await self.client.request_job(job("slow", gate="sync"))
        with self.assertRaises(TimeoutError):
            await self.client.get_job_result_sync(job_id, retries=1)
        open_gate("sync")
        result = await self.client.get_job_result_sync(job_id)
        self.assertEqual(result["result"]["output"], {"gate": "sync"})

    async def test_get_job_results(self):
        ids = [await self.client.request_job(job("upper", "echo", text=text)) for text in "ab"]
        for job_id in ids:
            await self.ended(job_id)
        asked = [ids[1], str(uuid.uuid4()), ids[0]]
        results = await self.client.get_job_results(asked)
        self.assertEqual([result["id"] for result in results], [ids[1], ids[0]])
        self.assertEqual([result["result"]["output"]["data"]["text"] for result in results], ["B", "A"])
        self.assertNotIn("intermediate_results", results[0])
        results = await self.client.get_job_results(asked, intermediate=True)
        before = {"container": "upper", "output": {"text": "B"}}
        self.assertEqual(results[0]["intermediate_results"], [before])

    async def test_get_jobs(self):
        done = (await self.result(job("echo")))["id"]
        running = await self.client.request_job(job("slow", gate="list"))
        self.assertIn(running, await self.client.get_jobs(pending=True))
        finished = await self.client.get_jobs(pending=False)
        self.assertIn(done, finished)
        self.assertNotIn(running, finished)
        self.assertLessEqual({done, running}, set(await self.client.get_jobs()))
        self.assertGreaterEqual((await self.client.get_info(timeout=10))["pending"]["offchain"], 1)
        open_gate("list")
        await self.ended(running)
        self.assertIn(running, await self.client.get_jobs(pending=False))

    async def stream(self, request):
        """The id, and the pieces after it."""
        first, *pieces = [piece async for piece in self.client.request_stream(request)]
        uuid.UUID(first)
        return first, pieces

    async def test_request_stream(self):
        for container, data in [("stream", {"text": "one two three"}), ("service", {"prompt": "one two three"})]:
            job_id, pieces = await self.stream(job(container, **data))
            self.assertEqual(b"".join(pieces), b"one two three")
            result = await self.ended(job_id)
            self.assertEqual(result["result"], {"container": container, "output": {"output": "one two three"}})

    async def test_request_stream_of_a_container_that_fails(self):
        job_id, pieces = await self.stream(job("fail", message="out of paper"))
        self.assertEqual(pieces, [])
        result = await self.ended(job_id)
        self.assertEqual((result["status"], result["result"]["error"]), ("failed", "out of paper"))

    async def test_request_stream_comes_as_it_is_made(self):
        stream = self.client.request_stream(job("slow", gate="stream"))
        job_id = await anext(stream)
        self.assertEqual(await anext(stream), b"first ")
        self.assertIn(job_id, await self.client.get_jobs(pending=True))
        open_gate("stream")
        self.assertEqual([piece async for piece in stream], [b"second"])

    async def test_request_stream_that_is_refused(self):
        async def first():
            return await anext(self.client.request_stream(job("nobody")))

        await self.refused(first(), 405, "Container not supported", container="nobody")

    async def test_record_status(self):
        job_id = f"{uuid.uuid4()}:legacy"
        for status, pending in [("running", True), ("success", False)]:
            await self.client.record_status(job_id, status, job("echo"))
            self.assertEqual(await self.client.get_job_results([job_id]), [{"id": job_id, "status": status, "result": None}])
            self.assertIn(job_id, await self.client.get_jobs(pending=pending))
        with self.assertRaises(APIError) as caught:
            await self.client.record_status(job_id, "done", job("echo"))
        self.assertEqual((caught.exception.status_code, caught.exception.message), (400, "Status is invalid"))
        own = (await self.result(job("echo")))["id"]
        with self.assertRaises(APIError) as caught:
            await self.client.record_status(own, "failed", job("echo"))
        self.assertEqual(caught.exception.status_code, 400)

    async def delegate(self, expiry, nonce=0, **changes):
        subscription = Subscription(**{**SUBSCRIPTION, **changes})
        with chain() as url:
            rpc = RPC(url)
            self.assertEqual(await rpc.get_chain_id(), CHAIN_ID)
            coordinator = rpc.get_checksum_address(COORDINATOR)
            await self.client.request_delegated_subscription(
                subscription, rpc, coordinator, expiry, nonce, SIGNER.key.hex(), {"text": "a"}
            )

    @unittest.skipIf(WALLET, "it has a chain")
    async def test_request_delegated_subscription_without_a_chain(self):
        await self.refused(self.delegate(int(time.time()) + 60), 405, "Chain not enabled")

    @unittest.skipUnless(WALLET, "it has no chain")
    async def test_request_delegated_subscription(self):
        later = int(time.time()) + 60
        # Some of these signatures have short numbers.
        for nonce in range(20):
            self.assertIsNone(await self.delegate(later, nonce))
        await self.refused(self.delegate(1), 405, "Signature expired")
        internal = self.delegate(later, containers=["internal"])
        await self.refused(internal, 405, "First container must be external", first_container="internal")
        with self.assertRaises(APIError) as caught:
            await self.delegate(later, containers=["nobody"])
        self.assertEqual(caught.exception.status_code, 405)
        # Whoever runs this compares it with what the node found.
        print(f"signed by {SIGNER.address}")
