"""Remote Agent Manager's example of an agent on a WebSocket.

ram_socket.py AGENT_ID TASKS ends after so many tasks.
"""

import asyncio
import json
import sys
from urllib.parse import quote

import websockets

from ram_task import executed
from telling import WEBSOCKET, did, expect, printed


async def agent(agent_id: str, tasks: int) -> None:
    async with websockets.connect(f"{WEBSOCKET}/ws/agent/{quote(agent_id, safe='')}") as websocket:

        async def say(kind: str, **data: object) -> None:
            await websocket.send(json.dumps({"type": kind, "data": data}))

        await websocket.send(json.dumps({"type": "heartbeat"}))
        async for message in websocket:
            told = json.loads(message)
            if told["type"] == "heartbeat_ack":
                did("connected", timestamp=printed(told, timestamp=str)["timestamp"])
            elif told["type"] == "command":
                task_id = printed(told, task_id=str)["task_id"]
                await say("task_status", task_id=task_id, status="running", output="")
                result = await asyncio.to_thread(executed, told)
                await say("task_result", task_id=task_id, **result)
                did("ran", task=told, result=result)
                tasks -= 1
                if tasks == 0:
                    return
    expect(False, "the connection ended before the last task", tasks)


asyncio.run(agent(sys.argv[1], int(sys.argv[2])))
