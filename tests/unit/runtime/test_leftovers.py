"""A task that will not be cancelled does not hold the exit of a process."""

import subprocess
import sys
import time

STUBBORN = """
import asyncio
from shared.runtime import run

async def retry_without_end():
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            asyncio.create_task(retry_without_end(), name="again")

async def main():
    asyncio.create_task(retry_without_end(), name="stubborn")
    await asyncio.sleep(0)
    print("served", flush=True)
    return 7

raise SystemExit(run(main))
"""


def test_the_process_ends_with_its_code_and_names_the_task():
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", STUBBORN], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 7
    assert time.monotonic() - began < 5
    assert "stubborn" in done.stdout + done.stderr
    assert "served" in done.stdout
