"""What the modules share: where the node is, its containers, a chain to sign for."""

import contextlib
import http.server
import json
import os
import threading
import time
import urllib.parse
import urllib.request

from eth_account import Account

# The node that is asked.
NODE = os.environ["INFERNET_NODE"]

# Where the containers are told what to do.
CONTAINERS = os.environ["INFERNET_CONTAINERS"]

# The address of the node's wallet, where it has a chain.
WALLET = os.environ.get("INFERNET_WALLET")

CHAIN_ID = 31337
COORDINATOR = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
OWNER = "0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512"

# What signs, with a key of this run alone.
SIGNER = Account.create()

SUBSCRIPTION = {
    "owner": OWNER,
    "active_at": int(time.time()),
    "period": 3600,
    "frequency": 2,
    "redundancy": 1,
    "containers": ["echo", "upper"],
    "lazy": False,
    "verifier": "0x0000000000000000000000000000000000000000",
    # Beyond 64 bits.
    "payment_amount": 10**24,
    "payment_token": "0x0000000000000000000000000000000000000000",
    "wallet": OWNER,
}


def open_gate(name):
    """Lets a container go on that waits for it."""
    url = f"{CONTAINERS}/gates/{urllib.parse.quote(name, safe='')}"
    urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=10).close()


@contextlib.contextmanager
def chain():
    """A JSON-RPC endpoint that knows the id of its chain, and nothing else."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            call = json.loads(self.rfile.read(int(self.headers["content-length"])))
            assert call["method"] == "eth_chainId", call
            body = json.dumps({"jsonrpc": "2.0", "id": call["id"], "result": hex(CHAIN_ID)}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
