"""The library stands alone: no broker, database, web framework or driver in its import chain."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[4]

CODE = """
import sys

BLOCKED = {"aiokafka", "faststream", "pymongo", "bson", "motor", "fastapi", "starlette", "uvicorn", "httpx", "aiohttp",
           "boto3", "botocore", "jsonschema_rs", "structlog", "opentelemetry", "duckdb", "pyarrow", "rich", "typer"}

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ImportError("the library must not import " + name)

sys.meta_path.insert(0, Refuse())
import asyncio
from services.executor.library import ExecutionEngine

async def main():
    async with ExecutionEngine() as engine:
        id = await engine.execute_plan({"strategy": {"type": "parallel"}, "commands": [
            {"command": {"type": "shell", "command": "echo one"}},
            {"command": {"type": "script", "source": "print('two')", "interpreter": "python"}}]})
        result = await engine.wait(id, 20)
        print("".join(r.stdout for r in result.results), result.status)

asyncio.run(main())
"""


def test_the_import_chain_is_free_of_drivers(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CODE],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "one\ntwo\n completed\n"


def test_the_example_runs(tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "02-library" / "run.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert "hello from a library" in done.stdout
    assert "-> completed: ['', '19', '1', '292']" in done.stdout
