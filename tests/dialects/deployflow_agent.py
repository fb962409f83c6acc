"""DeployFlow Fleet's agent for Windows: it registers, asks for actions and reports results.

deployflow_agent.py WAY HOSTNAME ACTIONS ends after so many actions. WAY says where it shows the
enrollment token: `bearer` or `body`. PowerShell is played.
"""

import sys
import time
from typing import Any

import requests

from telling import CREDENTIAL, URL, answer, bearer, did, expect, printed

API = f"{URL}/api/v1/agent"


def main(way: str, hostname: str, actions: int) -> None:
    http = requests.Session()
    if way == "bearer":
        http.headers.update(bearer(CREDENTIAL))
    shown = {"enrollment_token": CREDENTIAL} if way == "body" else {}

    def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
        return answer(http.post(f"{API}/{path}", json={**shown, **body}))

    did("alive", said=answer(http.get(f"{API}/heartbeat")))
    machine = {"hostname": hostname, "os_type": "windows", "os_description": "Windows 11 Pro"}
    said = printed(post("register", machine), agent_id=str, device_id=str)
    expect(said["agent_id"] == said["device_id"], "an agent is a device", said)
    device_id = said["device_id"]
    did("registered", device_id=device_id)

    while actions > 0:
        waiting = printed(post("heartbeat", {"device_id": device_id}), actions=list)["actions"]
        for action in waiting:
            printed(action, id=str, type=str, payload=str)
            expect(action["type"] == "powershell_inline", "it is PowerShell", action)
            logs = f"PowerShell ran {action['payload']}\n"
            output = {"logs": logs} if way == "body" else {"stdout": logs, "stderr": ""}
            result = {"status": "completed", "exit_code": 0, **output}
            post(f"actions/{action['id']}/result", result)
            did("ran", action=action, result=result)
            actions -= 1
        time.sleep(0.1)


main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
