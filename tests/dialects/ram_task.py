"""Tasks of Remote Agent Manager: what its agents are told, and what they answer."""

import os
import subprocess
from typing import Any

from telling import expect, printed


def executed(task: dict[str, Any]) -> dict[str, Any]:
    """Runs a task by Bash; the shells of Windows are played. Answers with its result."""
    printed(task, task_id=str, command=str, shell_type=str, timeout=int)
    shell, command = task["shell_type"], task["command"]
    expect(shell in ("cmd", "powershell", "bash"), "there are three shells", task)
    if shell != "bash":
        return {"status": "completed", "output": f"{shell} ran {command}\n", "exit_code": 0}
    try:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=task.get("working_directory"),
            env={**os.environ, **(task.get("environment") or {})},
            timeout=task["timeout"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"status": "failed", "output": "", "error": "it took too long"}
    return {
        "status": "failed" if done.returncode else "completed",
        "output": done.stdout,
        "error": done.stderr,
        "exit_code": done.returncode,
    }
