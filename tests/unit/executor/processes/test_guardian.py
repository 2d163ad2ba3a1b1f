"""A real guardian over a small worker: what it started is gone, however the worker ends."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from services.executor.processes.ownership import OWNER, is_gone, orphans, owner_mark
from tests.unit.executor.processes.contexts import alive, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the guardian needs Linux")

ROOT = Path(__file__).parents[4]
DAEMON = "exec setsid env -i /bin/bash -c 'echo $$ > {folder}/daemon; trap \"\" TERM; sleep 60'"

WORKER = """
import os, signal, subprocess, sys, time
from pathlib import Path
from services.executor.processes.guardian_link import GuardianLink

folder = Path(sys.argv[1])
link = GuardianLink.from_arguments(sys.argv)
env = {"CADENZA_OWNER": link.owner, "PATH": os.environ["PATH"]}
subprocess.Popen(["bash", "-c", "(" + DAEMON + ") & sleep 0.2"], start_new_session=True, env=env)
subprocess.Popen(["sleep", "61"], start_new_session=True, env=env)
(folder / "owner").write_text(link.owner)
(folder / "worker").write_text(str(os.getpid()))
"""


class Guarded:
    """A guardian in a process of its own, with a worker that runs `body` after starting a daemon."""

    def __init__(self, folder: Path, body: str) -> None:
        self.folder = folder
        worker = folder / "worker.py"
        daemon = DAEMON.format(folder=folder)
        worker.write_text(f"DAEMON = {daemon!r}\n{WORKER}{textwrap.dedent(body)}")
        code = (
            "import sys; from services.executor.processes.guardian import run;"
            "sys.exit(run([sys.executable, *sys.argv[1:]]))"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, str(worker), str(folder)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
        )

    def read(self, name: str) -> str:
        path = self.folder / name
        return path.read_text().strip() if path.exists() else ""

    async def up(self) -> tuple[int, int]:
        """Pids of worker and daemon, once the daemon is nobody's child but the guardian's."""
        await until(lambda: self.read("worker") and self.read("daemon"), 10)
        return int(self.read("worker")), int(self.read("daemon"))

    async def ended(self, seconds: float = 5) -> int:
        await until(lambda: self.process.poll() is not None, seconds)
        return self.process.returncode


@pytest.fixture
def guard(tmp_path):
    started = []

    def start(body: str) -> Guarded:
        started.append(Guarded(tmp_path, body))
        return started[-1]

    yield start
    for guarded in started:
        if guarded.process.poll() is None:
            guarded.process.kill()
        guarded.process.wait()
        guarded.process.stderr.close()
        for name in ("worker", "daemon"):
            if guarded.read(name) and alive(int(guarded.read(name))):
                os.kill(int(guarded.read(name)), signal.SIGKILL)


@pytest.mark.breaks
async def test_a_daemon_of_a_killed_worker_is_gone_within_two_seconds(guard):
    guarded = guard("time.sleep(60)")
    worker, daemon = await guarded.up()
    os.kill(worker, signal.SIGKILL)
    await until(lambda: not alive(daemon), 2)
    assert await guarded.ended() == 128 + signal.SIGKILL


@pytest.mark.breaks
async def test_past_the_deadline_worker_and_descendants_are_ended(guard):
    guarded = guard(
        """
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for _ in range(5):
            link.live_until(time.monotonic() + 0.5)
            time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGSTOP)
        """
    )
    started = time.monotonic()
    worker, daemon = await guarded.up()
    assert await guarded.ended(10) == 128 + signal.SIGKILL
    assert time.monotonic() - started > 1, "renewed deadlines were believed"
    assert not alive(worker)
    assert not alive(daemon)
    assert b"deadline" in guarded.process.stderr.read()


async def test_sigterm_is_passed_on_and_the_exit_code_is_the_workers(guard):
    guarded = guard(
        """
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(42))
        (folder / "ready").touch()
        time.sleep(60)
        """
    )
    _, daemon = await guarded.up()
    await until((guarded.folder / "ready").exists)
    guarded.process.send_signal(signal.SIGTERM)
    assert await guarded.ended() == 42
    assert not alive(daemon)


async def test_a_worker_that_ends_well_leaves_nothing(guard):
    guarded = guard("time.sleep(0.5)\nsys.exit(0)")
    _, daemon = await guarded.up()
    assert await guarded.ended() == 0
    assert not alive(daemon)


@pytest.mark.breaks
async def test_worker_dies_with_its_guardian_and_the_next_guardian_ends_the_rest(guard, tmp_path):
    guarded = guard("time.sleep(60)")
    worker, daemon = await guarded.up()
    mark = guarded.read("owner")
    # Only marked processes can be told by the next guardian: a daemon that emptied its environment has nobody left.
    os.kill(daemon, signal.SIGKILL)
    assert not is_gone(mark)
    guarded.process.kill()
    await until(lambda: not alive(worker), 2)
    await until(lambda: is_gone(mark), 2)
    left = [row.pid for row in orphans()]
    assert left, "its steps were still there"
    (tmp_path / "daemon").unlink()
    next_one = guard("sys.exit(0)")
    await until(lambda: not any(map(alive, left)), 5)
    assert await next_one.ended() == 0


async def test_zombies_of_orphans_are_reaped(guard):
    guarded = guard(
        """
        subprocess.Popen(["bash", "-c", "(sleep 0.3 & echo $! > " + str(folder) + "/orphan)"])
        time.sleep(60)
        """
    )
    await guarded.up()
    await until(lambda: guarded.read("orphan"))
    await until(lambda: not Path(f"/proc/{guarded.read('orphan')}").exists(), 3)


def test_marks_of_other_hosts_boots_and_living_owners_are_left_alone():
    mine = owner_mark()
    host, boot, pid, _ = mine.split("/")
    assert not is_gone(mine)
    assert not is_gone(f"elsewhere/{boot}/{pid}/1")
    assert not is_gone(f"{host}/another-boot/{pid}/1")
    assert is_gone(f"{host}/{boot}/{pid}/1"), "the pid came again"
    assert not is_gone("nonsense")
    assert OWNER == "CADENZA_OWNER"


async def test_daemons_of_a_run_that_ended_well_can_be_ended(guard):
    guarded = guard(
        """
        from services.executor.processes.leftovers import end_leftovers
        mark = {"CADENZA_EXECUTION_ID": "run-1", "PATH": os.environ["PATH"]}
        other = {"CADENZA_EXECUTION_ID": "run-2", "PATH": os.environ["PATH"]}
        for env in (mark, other):
            subprocess.run(["bash", "-c", "setsid sleep 62 & exit 0"], env=env)
        time.sleep(0.2)
        (folder / "ended").write_text(str(end_leftovers("CADENZA_EXECUTION_ID=run-1")))
        """
    )
    await guarded.up()
    assert await guarded.ended() == 0
    assert guarded.read("ended") == "1"
