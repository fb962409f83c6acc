"""An agent of DexAgents on a WebSocket, in each of the forms that its documents print.

dexagents_socket.py FORM AGENT_ID COMMANDS ends after so many commands. FORM is `flat` or `nested`
for the two forms of registering, or `path` for the older way, where the address says who it is.
PowerShell is played: what came is told, and an output made of it is answered.
"""

import asyncio
import json
import sys
from datetime import datetime, timezone
from typing import Any
from urllib.parse import quote

import websockets

from telling import WEBSOCKET, did, expect, printed

LOAD = {"cpu_percent": 12.5, "memory_percent": 50.0, "disk_usage": 75.0}


def now() -> str:
    return datetime.now(timezone.utc).isoformat()


def registration(form: str, agent_id: str) -> dict[str, Any]:
    """How it says who it is."""
    hostname = f"{agent_id}.example.com"
    if form == "flat":
        known = {"agent_id": agent_id, "hostname": hostname, "system_info": LOAD}
        return {"type": "register", **known}
    system = {"ip": "192.0.2.8", "os": "Windows 11", "version": "10.0.22631"}
    return {"type": "register", "data": {"id": agent_id, "hostname": hostname, **system}}


def played(order: dict[str, Any], form: str) -> dict[str, Any]:
    """The result of a command."""
    printed(order, command_id=str, command=str, timeout=int)
    result = {
        "command_id": order["command_id"],
        "success": True,
        "output": f"PowerShell ran {order['command']}\n",
        "execution_time": 0.25,
    }
    if form == "nested":
        return {"type": "powershell_result", "data": {**result, "exit_code": 0}}
    return {"type": "command_result", **result}


async def agent(form: str, agent_id: str, commands: int) -> None:
    place = quote(agent_id, safe="") if form == "path" else "agent"
    async with websockets.connect(f"{WEBSOCKET}/api/v1/ws/{place}") as websocket:

        async def say(message: dict[str, Any]) -> None:
            await websocket.send(json.dumps(message))

        if form != "path":
            await say(registration(form, agent_id))
            welcome = json.loads(await websocket.recv())
            expect(welcome["type"] == "welcome", "a welcome is expected", welcome)
            known = printed(welcome["data"], agent_id=str, connection_id=str, message=str)
            expect(known["agent_id"] == agent_id, "it keeps its id", welcome)
        await say(
            {"type": "heartbeat", "agent_id": agent_id, "timestamp": now(), "system_metrics": LOAD}
        )
        did("connected")
        async for message in websocket:
            order = json.loads(message)
            if order["type"] == "execute_command":
                result = played(order, form)
                await say(result)
                did("ran", order=order, result=result)
                commands -= 1
                if commands == 0:
                    return
            elif order["type"] == "system_info_request":
                printed(order, timestamp=str)
                await say({"type": "system_info_update", "agent_id": agent_id, "system_info": LOAD})
                did("described")
            elif order["type"] == "ping":
                await say({"type": "pong", "timestamp": now()})
    expect(False, "the connection ended before the last command", commands)


asyncio.run(agent(sys.argv[1], sys.argv[2], int(sys.argv[3])))
