"""A container as the ecosystem's own library makes them: Quart, and resources by `infernet-ml`. It prints the port that it
listens on. It takes `prompt` and gives its words, or streams them."""

import asyncio
import socket

from hypercorn.asyncio import serve
from hypercorn.config import Config
from infernet_ml.services.types import InfernetInput, JobLocation
from infernet_ml.utils.spec import MLComputeCapability, ServiceResources, postfix_query_handler, ritual_service_specs
from quart import Quart, Response, request


def create_app():
    app = Quart(__name__)

    def resources():
        return ServiceResources.initialize("a-service", [MLComputeCapability.onnx_compute()]).model_dump()

    ritual_service_specs(app, resources, postfix_query_handler("onnx"))

    @app.route("/service_output", methods=["POST"])
    async def service_output():
        asked = InfernetInput(**await request.get_json())
        if "prompt" not in asked.data:
            return {"error": "no prompt"}, 400
        words = asked.data["prompt"].split()
        if asked.destination != JobLocation.STREAM:
            return {"words": words, "proved": bool(asked.requires_proof)}

        async def pieces():
            for index, word in enumerate(words):
                yield (word if index == 0 else f" {word}").encode()

        return Response(pieces(), mimetype="text/event-stream")

    return app


async def main():
    listener = socket.create_server(("127.0.0.1", 0))
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.loglevel = "WARNING"
    print(listener.getsockname()[1], flush=True)
    await serve(create_app(), config)


if __name__ == "__main__":
    asyncio.run(main())
