"""What the suites have in common: where they ask, with which key, and what they ask."""

import os
import time

BASE_URL = os.environ["RESULTITY_BASE_URL"]
API_KEY = os.environ["RESULTITY_API_KEY"]
MODEL = os.environ["RESULTITY_MODEL"]
EMBEDDING_MODEL = os.environ["RESULTITY_EMBEDDING_MODEL"]

# "embedded", or "llama" for a node in front of llama.cpp: a few things only one of them can do.
ENGINE = os.environ["RESULTITY_ENGINE"]

# For OpenAI's SDK. Errors are what is checked here, so nothing is tried again.
OPTIONS = {"base_url": BASE_URL, "api_key": API_KEY, "timeout": 120, "max_retries": 0}

MESSAGES = [
    # Without the first message this small model answers in something like French.
    {"role": "system", "content": "You are a helpful assistant."},
    {"role": "user", "content": "What is the capital of France?"},
]
QUESTION = {"model": MODEL, "messages": MESSAGES, "temperature": 0, "max_tokens": 12}


def wait_until(ask, is_enough, seconds=120):
    """Asks again until the answer is enough, and gives it."""
    end = time.monotonic() + seconds
    while True:
        answer = ask()
        if is_enough(answer):
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"waited in vain; the last answer: {answer!r}")
        time.sleep(0.05)
