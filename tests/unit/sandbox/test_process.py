"""Processes: nothing outlives its parent, a group goes as a whole, an early end is told."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from sandbox.errors import DiskFull, SandboxError
from sandbox.process import Process

IGNORES_TERM = "trap '' TERM; echo ready; sleep 60 & echo $! > child; wait; sleep 60"


def gone(pid: int, seconds: float = 5) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


def shell(tmp_path, text: str) -> Process:
    return Process("part", ["/bin/sh", "-c", text], log=tmp_path / "part.log", cwd=tmp_path)


def test_stop_ends_the_whole_group_even_when_it_ignores_sigterm(tmp_path):
    process = shell(tmp_path, IGNORES_TERM)
    process.start()
    child = tmp_path / "child"
    process.wait_ready(lambda: child.exists() and child.read_text().endswith("\n"), timeout=5)
    process.stop(grace=0.2)
    assert not process.alive
    assert gone(int(child.read_text()))


def test_an_early_end_shows_the_last_line_of_the_log(tmp_path):
    process = shell(tmp_path, "echo fine; echo 'broken: no config' >&2; exit 3")
    process.start()
    with pytest.raises(SandboxError, match="ended while it was starting: broken: no config"):
        process.wait_ready(lambda: False, timeout=5)


def test_a_full_disk_is_called_by_its_name(tmp_path):
    process = shell(tmp_path, "echo 'write failed: No space left on device'; exit 1")
    process.start()
    with pytest.raises(DiskFull, match="disk is full"):
        process.wait_ready(lambda: False, timeout=5)


def test_a_process_that_is_never_ready_is_given_up(tmp_path):
    process = shell(tmp_path, "sleep 60")
    process.start()
    try:
        with pytest.raises(SandboxError, match="not ready after"):
            process.wait_ready(lambda: False, timeout=0.2)
    finally:
        process.kill()


def test_it_can_be_started_again(tmp_path):
    process = shell(tmp_path, "echo once more; sleep 60")
    for _ in range(2):
        process.start()
        assert process.alive
        process.kill()
        assert not process.alive


PARENT = """
import sys, time
from pathlib import Path
from sandbox.process import Process
process = Process("part", ["/bin/sleep", "60"], log=Path(sys.argv[1]))
process.start()
print(process.pid, flush=True)
time.sleep(60)
"""


def test_a_killed_parent_takes_its_parts_with_it(tmp_path):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True
    )
    with parent:
        pid = int(parent.stdout.readline())
        assert psutil.pid_exists(pid)
        os.kill(parent.pid, signal.SIGKILL)
    assert gone(pid)
