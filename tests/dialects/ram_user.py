"""Remote Agent Manager's example for users: register, sign in, list the agents, run a command.

ram_user.py AGENT_ID SHELL COMMAND
"""

import sys
import time
from typing import Any

import requests

from telling import ADMIN_PASSWORD, URL, answer, bearer, did, expect, printed

ACCOUNT = {
    "username": "rita",
    "email": "rita@example.com",
    "password": "rita likes long passwords",
    "full_name": "Rita Remote",
}


def signed_in(username: str, password: str) -> dict[str, str]:
    """The headers of somebody who has signed in."""
    login = {"username": username, "password": password}
    said = answer(requests.post(f"{URL}/api/auth/login", json=login))
    printed(said, access_token=str, token_type=str, user=dict)
    printed(said["user"], id=str, username=str)
    expect(said["token_type"] == "bearer", "a bearer token is expected", said)
    return bearer(said["access_token"])


def ended(agent_id: str, task_id: str, headers: dict[str, str]) -> dict[str, Any]:
    """The task, once it has ended."""
    path = f"{URL}/api/agents/{agent_id}/tasks/{task_id}"
    while True:
        task = printed(answer(requests.get(path, headers=headers)), status=str, output=str)
        if task["status"] not in ("pending", "running"):
            return task
        time.sleep(0.1)


def main(agent_id: str, shell: str, command: str) -> None:
    said = answer(requests.post(f"{URL}/api/auth/register", json=ACCOUNT))
    user_id = printed(said, user_id=str, message=str)["user_id"]
    did("registered", user_id=user_id)

    admin = signed_in("admin", ADMIN_PASSWORD)
    answer(requests.post(f"{URL}/api/admin/users/{user_id}/approve", headers=admin))
    headers = signed_in(ACCOUNT["username"], ACCOUNT["password"])
    did("signed in")

    listed = requests.get(f"{URL}/api/agents", headers=headers)
    counts = printed(answer(listed), total=int, online=int, offline=int)
    expect(agent_id in listed.text, "the agent is among them", counts)
    did("listed", total=counts["total"], online=counts["online"], offline=counts["offline"])

    order = {"command": command, "shell_type": shell, "timeout": 30}
    path = f"{URL}/api/agents/{agent_id}/commands"
    said = answer(requests.post(path, json=order, headers=headers))
    printed(said, task_id=str, status=str, message=str)
    expect(said["status"] in ("accepted", "pending"), "it was accepted", said)
    did("sent", task_id=said["task_id"])

    task = ended(agent_id, said["task_id"], headers)
    expect(task["status"] in ("completed", "failed"), "it has ended", task)
    did("ended", **{name: task.get(name) for name in ("status", "output", "error", "exit_code")})


main(*sys.argv[1:])
