"""An agent of Remote Agent Manager that asks for its tasks over HTTP.

ram_polling.py HOSTNAME TASKS ends after so many tasks.
"""

import sys
import time

import requests

from ram_task import executed
from telling import CREDENTIAL, URL, answer, bearer, did, expect, printed


def main(hostname: str, tasks: int) -> None:
    http = requests.Session()
    http.headers.update(bearer(CREDENTIAL))
    machine = {
        "hostname": hostname,
        "ip_address": "192.0.2.7",
        "port": 3002,
        "capabilities": ["command_execution", "system_monitoring"],
        "version": "1.0.0",
    }
    said = answer(http.post(f"{URL}/api/agents/register", json=machine))
    printed(said, agent_id=str, status=str, message=str)
    expect(said["status"] == "registered", "it is registered", said)
    agent_id = said["agent_id"]
    did("registered", agent_id=agent_id)

    own = f"{URL}/api/agents/{agent_id}"
    while tasks > 0:
        answer(http.post(f"{own}/heartbeat", json={"agent_id": agent_id, "status": "online"}))
        waiting = printed(answer(http.get(f"{own}/commands")), commands=list, count=int)
        expect(waiting["count"] == len(waiting["commands"]), "count counts them", waiting)
        for task in waiting["commands"]:
            printed(task, task_id=str, agent_id=str, type=str)
            expect((task["agent_id"], task["type"]) == (agent_id, "command"), "it is its", task)
            result = executed(task)
            path = f"{own}/tasks/{task['task_id']}/result"
            said = answer(http.post(path, json=result))
            expect(said == {"message": "Task result submitted successfully"}, "thanks", said)
            did("ran", task=task, result=result)
            tasks -= 1
        time.sleep(0.1)


main(sys.argv[1], int(sys.argv[2]))
