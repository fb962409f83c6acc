"""DeployFlow Fleet's calls for operators: an action for a device, and the list of its actions.

deployflow_operator.py DEVICE_ID PAYLOAD
"""

import sys
import time

import requests

from telling import ADMIN_PASSWORD, URL, answer, bearer, did, expect, printed

API = f"{URL}/api/v1"


def main(device_id: str, payload: str) -> None:
    login = {"username": "admin", "password": ADMIN_PASSWORD}
    headers = bearer(answer(requests.post(f"{API}/auth/login", json=login))["access_token"])
    actions = f"{API}/devices/{device_id}/actions"
    action = {"type": "powershell_inline", "payload": payload}
    created = answer(requests.post(actions, json=action, headers=headers))
    action_id = printed(created, command_id=str)["command_id"]
    did("created", action_id=action_id)
    while True:
        listed = answer(requests.get(actions, headers=headers))["items"]
        mine = [known for known in listed if known["id"] == action_id]
        expect(len(mine) == 1, "it is listed", listed)
        if mine[0]["status"] not in ("pending", "running"):
            did("ended", status=mine[0]["status"])
            return
        time.sleep(0.1)


main(*sys.argv[1:])
