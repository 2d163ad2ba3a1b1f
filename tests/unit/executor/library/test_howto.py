"""The programs in docs/howto/library.md do what the page says."""

import asyncio
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

PAGE = Path(__file__).parents[4] / "docs/howto/library.md"


def program(heading: str) -> dict[str, Any]:
    """What the first block under a heading defines."""
    section = PAGE.read_text().partition(f"## {heading}\n")[2]
    block = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert block is not None, heading
    names: dict[str, Any] = {"__name__": "howto"}
    exec(compile(block[1], str(PAGE), "exec"), names)
    return names


@pytest.fixture(autouse=True)
def logs(monkeypatch, tmp_path):
    monkeypatch.setenv("EXEC_LOG_DIR", str(tmp_path))


async def test_in_a_web_service():
    names = program("In a web service")
    transport = httpx.ASGITransport(names["app"])
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        asked = {"command": {"type": "shell", "command": "echo hello"}}
        run = (await client.post("/runs", json=asked)).json()["id"]
        await names["engine"].wait(run)
        assert (await client.get(f"/runs/{run}")).json()["stdout"] == "hello\n"
        assert (await client.delete(f"/runs/{run}")).status_code == 409
        wrong = await client.post("/runs", json={"command": {"type": "shel"}})
        assert (wrong.status_code, "command.type" in wrong.text) == (422, True)
        assert (await client.get("/runs/none")).status_code == 404
        slow = {"command": {"type": "shell", "command": "sleep 60"}}
        run = (await client.post("/runs", json=slow)).json()["id"]
        assert (await client.get(f"/runs/{run}")).json()["status"] in ("pending", "running")
        assert (await client.delete(f"/runs/{run}")).status_code == 202
        assert (await names["engine"].wait(run)).status == "cancelled"
    async with names["lifespan"](names["app"]):
        pass


async def test_in_a_command_line_tool(capsys):
    assert await program("In a command-line tool")["main"]("echo out; exit 3") == 3
    assert "out" in capsys.readouterr().out.splitlines()


async def test_handlers_of_events():
    commands = ["true", "sleep 0.3", "exit 4"]
    slowest, metrics, stored = await asyncio.wait_for(
        program("Handlers of events")["run"](commands), 30
    )
    assert slowest.seconds >= 0.3
    assert (metrics.completed, metrics.failed) == (2, 1)
    assert len(stored) == 3
