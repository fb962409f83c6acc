"""DexAgents' example calls: sign in as the admin, register an agent, run commands on another.

dexagents_operator.py AGENT_ID COMMAND: the agent is one that is connected.
"""

import sys
import time

import requests

from telling import ADMIN_PASSWORD, CREDENTIAL, NUMBER, URL, answer, bearer, did, expect, printed

API = f"{URL}/api/v1"


def main(agent_id: str, command: str) -> None:
    login = {"username": "admin", "password": ADMIN_PASSWORD}
    said = answer(requests.post(f"{API}/auth/login", json=login))
    printed(said, access_token=str, token_type=str, expires_in=int, user=dict)
    admin = bearer(said["access_token"])
    did("signed in", me=answer(requests.get(f"{API}/auth/me", headers=admin))["username"])

    machine = {
        "hostname": "DESKTOP-HTTP",
        "ip": "192.0.2.9",
        "os": "Windows 11",
        "version": "10.0.22631",
        "tags": ["office"],
    }
    customer = bearer(CREDENTIAL)
    said = answer(requests.post(f"{API}/agents/register", headers=customer, json=machine))
    registered = printed(said, agent_id=str)["agent_id"]
    load = {"cpu_percent": 12.5, "memory_percent": 50.0, "disk_usage": 75.0}
    beat = {"agent_id": registered, "status": "online", "system_metrics": load}
    path = f"{API}/agents/{registered}/heartbeat"
    answer(requests.post(path, headers=customer, json=beat))
    shown = answer(requests.get(f"{API}/agents/{registered}", headers=admin))
    expect(shown["hostname"] == machine["hostname"], "it is listed", shown)
    did("registered", agent_id=registered, status=shown["status"], tags=shown["tags"])

    for path in ("agents/connected", "websocket/connected"):
        connected = requests.get(f"{API}/{path}", headers=admin)
        expect(agent_id in connected.text, "the agent is connected", answer(connected))
    status = answer(requests.get(f"{API}/agents/status/{agent_id}", headers=admin))
    did("looked", status=printed(status, status=str)["status"])

    order = {"command": command, "timeout": 30}
    said = answer(requests.post(f"{API}/agents/{agent_id}/command", headers=admin, json=order))
    printed(said, success=bool, output=str, execution_time=NUMBER)
    did("ran", success=said["success"], output=said["output"])

    path = f"{API}/websocket/send/{agent_id}/command"
    sent = requests.post(path, headers=admin, json=order)
    command_id = printed(answer(sent), command_id=str)["command_id"]
    expect(sent.status_code == 202, "it is queued", sent.status_code)
    path = f"{API}/commands/agent/{agent_id}/result/{command_id}"
    result = answer(requests.get(path, headers=admin))
    while result["success"] is None:
        time.sleep(0.1)
        result = answer(requests.get(path, headers=admin))
    did("sent", success=result["success"], output=result["output"])


main(*sys.argv[1:])
