"""How the clients in this folder tell what they did, and where an answer is not what it should be.

A client is given nothing but where Muster is and what to show there:

MUSTER_URL             such as http://127.0.0.1:8080
MUSTER_WEBSOCKET       such as ws://agent:sk_...@127.0.0.1:8080
MUSTER_CREDENTIAL      a customer's key or an enrollment token; empty for none
MUSTER_ADMIN_PASSWORD  the password of the user admin
"""

import json
import os
import sys
from typing import Any

import requests

URL = os.environ.get("MUSTER_URL", "")
WEBSOCKET = os.environ.get("MUSTER_WEBSOCKET", "")
CREDENTIAL = os.environ.get("MUSTER_CREDENTIAL", "")
ADMIN_PASSWORD = os.environ.get("MUSTER_ADMIN_PASSWORD", "")

NUMBER = (int, float)


def did(step: str, **details: Any) -> None:
    """Tells of a step that is done, as a line of JSON."""
    print(json.dumps({"did": step, **details}), flush=True)


def expect(good: bool, rule: str, answer: Any) -> None:
    """Ends the program unless the answer is good."""
    if not good:
        sys.exit(f"{rule}: {json.dumps(answer)}")


def printed(answer: Any, **fields: Any) -> dict[str, Any]:
    """The answer, if it has the fields that the product's document prints, each of its type."""
    expect(isinstance(answer, dict), "an object is expected", answer)
    for name, kind in fields.items():
        expect(isinstance(answer.get(name), kind), f"{name} is expected", answer)
    return answer


def answer(response: requests.Response) -> Any:
    """What a good response says."""
    if not response.ok:
        asked = f"{response.request.method} {response.url}"
        sys.exit(f"{asked}: {response.status_code} {response.text}")
    return response.json()


def bearer(token: str) -> dict[str, str]:
    """The header that shows a token; none where there is none to show."""
    return {"Authorization": f"Bearer {token}"} if token else {}
