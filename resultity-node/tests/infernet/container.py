"""Containers that keep to the conventions of the Infernet ecosystem, for tests and benches: one process, on the standard
library alone.

    python3 container.py [--port 3000]

It prints the port that it listens on. The first part of a path is the container: `POST /echo/service_output`,
`GET /echo/service-resources[?model_id=]`. Without that part it is `echo`. What each does stands with its function. Beside
them: `POST /gates/NAME` opens a gate, `GET /calls` tells which calls there were and what became of them.
"""

import argparse
import asyncio
import collections
import json
import urllib.parse

# The one model that `echo` supports; its name has to be escaped in an address.
MODEL = "org/a model&x=1#2?%41+é"

# What `guarded` wants to hear.
TOKEN = "open sesame"

# `destination` of a call whose answer is to be streamed.
STREAM = 2


class Reply:
    """A whole answer."""

    def __init__(self, body, status=200, kind="application/json", length=None):
        self.body = body if isinstance(body, bytes) else body.encode()
        self.status = status
        self.kind = kind
        # What the header says, where that is not the truth.
        self.length = len(self.body) if length is None else length


def answer(value, status=200):
    return Reply(json.dumps(value), status)


class Broken(Exception):
    """The connection is to be cut off."""


class Call:
    """One call of a container."""

    def __init__(self, container, headers, body):
        self.container = container
        self.headers = headers
        self.body = body
        self.state = "running"

    @property
    def data(self):
        return self.body["data"]

    @property
    def is_streamed(self):
        return self.body.get("destination") == STREAM


class Containers:
    def __init__(self):
        self.gates = collections.defaultdict(asyncio.Event)
        self.calls = collections.deque(maxlen=10_000)

    async def echo(self, call):
        """Answers with all that it was sent."""
        return answer(call.body)

    async def upper(self, call):
        """Answers with the text in capitals."""
        return answer({"text": call.data["text"].upper()})

    internal = upper
    prover = echo
    closed = echo

    async def guarded(self, call):
        """As echo, for those who know the token."""
        if call.headers.get("authorization") != f"Bearer {TOKEN}":
            return Reply("who are you?", 401, "text/plain")
        return answer(call.body)

    async def fail(self, call):
        """Fails, with its own words."""
        return Reply(call.data.get("message", "it failed"), 500, "text/plain")

    async def slow(self, call):
        """Waits for its gate; of a stream, the first half comes before that."""
        gate = self.gates[call.data["gate"]]
        if not call.is_streamed:
            await gate.wait()
            return answer({"gate": call.data["gate"]})

        async def pieces():
            yield b"first "
            await gate.wait()
            yield b"second"

        return pieces()

    async def stream(self, call):
        """Streams a text word by word, or bytes piece by piece."""
        if "hex" in call.data:
            made = [bytes.fromhex(piece) for piece in call.data["hex"]]
        else:
            words = call.data["text"].split(" ")
            made = [(word if index == 0 else f" {word}").encode() for index, word in enumerate(words)]
        if not call.is_streamed:
            return answer({"output": b"".join(made).decode()})

        async def pieces():
            for piece in made:
                yield piece
                # So that each is a piece of its own for whoever reads.
                await asyncio.sleep(0)

        return pieces()

    async def puppet(self, call):
        """Answers with the status, type and body that it is told, or with so many bytes; breaks off if it is told to."""
        told = call.data
        body = told.get("body", "x" * told.get("bytes", 0))
        length = len(body.encode()) + 1 if told.get("breaks") else None
        if not call.is_streamed:
            return Reply(body, told.get("status", 200), told.get("type", "application/json"), length)

        async def pieces():
            yield body.encode()
            if told.get("breaks"):
                raise Broken

        return pieces()

    def resources(self, container, model_id):
        """What a container can do, or whether it supports a model."""
        if container == "fail":
            return Reply("I have none", 200, "text/plain")
        if model_id == "broken":
            return answer({"supported": False, "error": f"{model_id} is no model id"})
        if model_id:
            return answer({"supported": container == "echo" and model_id == MODEL})
        hardware = {
            "capability_id": "base",
            "cpu_info": {"model": "test", "architecture": "x86_64", "num_cores": 2},
            "os_info": {"name": "Linux", "version": "1"},
            "disk_info": [{"filesystem": "none", "mount_point": "/", "size": 2, "used": 1, "available": 1}],
        }
        compute = {"id": "ml", "type": "css", "task": ["text_generation"], "models": [], "cached_models": []}
        return answer(
            {
                "version": "0.1.0",
                "service_id": container,
                "hardware_capabilities": [hardware],
                "compute_capability": [compute],
            }
        )

    def find(self, method, target, headers, body):
        """What is to be done for a request, and the call if it is one of a container."""
        url = urllib.parse.urlsplit(target)
        *container, last = url.path.strip("/").split("/")
        container = container[-1] if container else "echo"
        if (method, last) == ("POST", "service_output") and hasattr(self, container):
            call = Call(container, headers, json.loads(body))
            self.calls.append(call)
            return getattr(self, container)(call), call
        return self.other(method, container, last, urllib.parse.parse_qs(url.query)), None

    async def other(self, method, container, last, query):
        if (method, last) == ("GET", "service-resources"):
            return self.resources(container, query.get("model_id", [""])[0])
        if (method, container) == ("POST", "gates"):
            self.gates[urllib.parse.unquote(last)].set()
            return answer({})
        if (method, last) == ("GET", "calls"):
            return answer([{"container": call.container, "state": call.state, **call.body} for call in self.calls])
        return Reply("there is nothing here", 404, "text/plain")


class Connection:
    """HTTP/1.1, as much of it as the tests need."""

    def __init__(self, containers, reader, writer):
        self.containers = containers
        self.reader = reader
        self.writer = writer
        # What was read of the next request.
        self.begun = b""

    async def serve(self):
        try:
            while await self.request():
                pass
        except (Broken, ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.writer.close()

    async def request(self):
        head = self.begun + await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        work, call = self.containers.find(method, target, headers, body)
        # What can be read before the answer is the end of the connection.
        left = asyncio.ensure_future(self.reader.read(1))
        try:
            await self.answer(work, left)
        except (Broken, ConnectionError) as error:
            if call:
                call.state = "broken" if isinstance(error, Broken) else "left"
            raise
        if call:
            call.state = "answered"
        left.cancel()
        try:
            self.begun = await left
            return self.begun != b""
        except asyncio.CancelledError:
            self.begun = b""
            return True

    async def answer(self, work, left):
        reply = await self.unless_left(work, left)
        if not isinstance(reply, Reply):
            await self.pieces(reply, left)
            return
        self.head(reply.status, reply.kind, f"content-length: {reply.length}")
        self.writer.write(reply.body)
        await self.writer.drain()
        if reply.length != len(reply.body):
            raise Broken

    async def pieces(self, pieces, left):
        self.head(200, "application/octet-stream", "transfer-encoding: chunked")
        while True:
            piece = await self.unless_left(anext(pieces, None), left)
            if piece is None:
                break
            if piece:
                self.writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                await self.writer.drain()
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    async def unless_left(self, work, left):
        """What the work gives, unless whoever asked has gone."""
        work = asyncio.ensure_future(work)
        await asyncio.wait([work, left], return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        work.cancel()
        raise ConnectionError

    def head(self, status, kind, length):
        reason = {200: "OK", 401: "Unauthorized", 404: "Not Found", 500: "Internal Server Error"}.get(status, "Other")
        self.writer.write(f"HTTP/1.1 {status} {reason}\r\ncontent-type: {kind}\r\n{length}\r\n\r\n".encode())


async def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    port = parser.parse_args().port
    containers = Containers()

    async def connected(reader, writer):
        await Connection(containers, reader, writer).serve()

    server = await asyncio.start_server(connected, "127.0.0.1", port, limit=32 << 20, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
