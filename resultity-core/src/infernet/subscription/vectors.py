"""Makes vectors.json, with what the official client signs with: Python, `web3<7`, and `infernet-client==1.4.0` installed
without its dependency pins. The older form is signed with the types that the original node has for it.

    python vectors.py > vectors.json
"""

import json

from eth_account import Account
from eth_account.messages import _hash_eip191_message, encode_typed_data
from infernet_client.chain.subscription import Subscription
from web3 import Web3

cs = Web3.to_checksum_address
ZERO = "0x" + "0" * 40
KEYS = [
    "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    "0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
]
DOMAINS = [(31337, cs("0x5fbdb2315678afecb367f032d93f642f64180aa3")), (1, cs("0x" + "ff" * 20)), (2**64 - 1, ZERO)]
OWNER = cs("0x70997970c51812dc3a010c7d01b50e0d17dc79c8")
TOKEN = cs("0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc")
U32 = 2**32 - 1

def out(form, subscription, containers, typed, nonce, expiry, domain, key):
    signed = Account.sign_message(typed, key)
    assert Account.recover_message(typed, signature=signed.signature) == Account.from_key(key).address
    body = {
        "signature": {"nonce": nonce, "expiry": expiry, "v": signed.v, "r": int(signed.r), "s": int(signed.s)},
        "subscription": subscription,
        "data": {"prompt": "h\u00e9llo", "n": 2**70},
    }
    return {
        "form": form,
        "key": key,
        "signer": Account.from_key(key).address,
        "chain_id": domain[0],
        "coordinator": domain[1],
        "containers": containers,
        "digest": "0x" + _hash_eip191_message(typed).hex().removeprefix("0x"),
        "body": json.dumps(body),
    }

def newer(nonce, expiry, domain, key, containers, **kw):
    s = Subscription(containers=containers, **kw)
    typed = s.get_delegate_subscription_typed_data(nonce, expiry, *domain)
    return out("newer", s.serialized, containers, typed, nonce, expiry, domain, key)

def older(nonce, expiry, domain, key, containers, **kw):
    ser = dict(kw, container_id=",".join(containers))
    typed = encode_typed_data(full_message={
        "types": {
            "EIP712Domain": [
                {"name": "name", "type": "string"}, {"name": "version", "type": "string"},
                {"name": "chainId", "type": "uint256"}, {"name": "verifyingContract", "type": "address"}],
            "DelegateSubscription": [
                {"name": "nonce", "type": "uint32"}, {"name": "expiry", "type": "uint32"}, {"name": "sub", "type": "Subscription"}],
            "Subscription": [
                {"name": "owner", "type": "address"}, {"name": "activeAt", "type": "uint32"},
                {"name": "period", "type": "uint32"}, {"name": "frequency", "type": "uint32"},
                {"name": "redundancy", "type": "uint16"}, {"name": "maxGasPrice", "type": "uint48"},
                {"name": "maxGasLimit", "type": "uint32"}, {"name": "containerId", "type": "string"},
                {"name": "inputs", "type": "bytes"}]},
        "primaryType": "DelegateSubscription",
        "domain": {"name": "InfernetCoordinator", "version": "1", "chainId": domain[0], "verifyingContract": domain[1]},
        "message": {"nonce": nonce, "expiry": expiry, "sub": {
            "owner": kw["owner"], "activeAt": kw["active_at"], "period": kw["period"], "frequency": kw["frequency"],
            "redundancy": kw["redundancy"], "maxGasPrice": kw["max_gas_price"], "maxGasLimit": kw["max_gas_limit"],
            "containerId": ser["container_id"], "inputs": bytes(kw["inputs"], "utf-8")}}})
    order = ["owner", "active_at", "period", "frequency", "redundancy", "max_gas_price", "max_gas_limit", "container_id", "inputs"]
    return out("older", {k: ser[k] for k in order}, containers, typed, nonce, expiry, domain, key)

vectors = []
amounts = [0, 1, 10**18, 2**64, 2**128 + 1, 2**255, 2**256 - 1]
for i, amount in enumerate(amounts):
    edge = i % 2 == 1
    vectors.append(newer(
        nonce=U32 if edge else i, expiry=U32 if edge else 1_800_000_000 + i, domain=DOMAINS[i % 3], key=KEYS[i % 3],
        containers=[["echo"], ["summarise", "translate"], ["a-model:1.0/\u00fc", "b", "c"], ["x" * 32], ["y" * 70, "z"], [""], ["one,two"]][i],
        owner=OWNER, active_at=U32 if edge else 0, period=U32 if edge else 60, frequency=U32 if edge else 1,
        redundancy=65535 if edge else 1, lazy=edge, verifier=TOKEN if edge else ZERO, payment_amount=amount,
        payment_token=TOKEN if amount else ZERO, wallet=cs("0x" + "ab" * 20) if amount else ZERO))
for i, (price, inputs) in enumerate([(0, ""), (2**48 - 1, "0x1234"), (30 * 10**9, "{\"t\": \"\u00e9\"}"), (1, "i" * 100)]):
    edge = i % 2 == 1
    vectors.append(older(
        nonce=U32 if edge else i, expiry=U32 if edge else 1_800_000_000 + i, domain=DOMAINS[i % 3], key=KEYS[i % 3],
        containers=[["echo"], ["summarise", "translate"], ["\u00fc"], ["a", "b", "c"]][i],
        owner=OWNER, active_at=U32 if edge else 0, period=U32 if edge else 60, frequency=U32 if edge else 1,
        redundancy=65535 if edge else 1, max_gas_price=price, max_gas_limit=U32 if edge else 500_000, inputs=inputs))
print(json.dumps(vectors, indent=1))
