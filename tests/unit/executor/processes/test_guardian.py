"""A real guardian over a small worker: what it started is gone, however the worker ends."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from services.executor.processes.ownership import OWNER, is_gone, orphans, owner_mark
from tests.unit.executor.processes.contexts import alive, until
from tests.unit.executor.processes.guarded import PLAIN

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the guardian needs Linux")


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
    assert not is_gone(mark)
    guarded.process.kill()
    await until(lambda: not alive(worker), 2)
    await until(lambda: is_gone(mark), 2)
    left = [row.pid for row in orphans()]
    assert daemon in left, "known by its limits: its environment is empty"
    assert len(left) > 1, "its other processes were still there, too"
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


async def test_worker_and_guardian_are_closed_to_steps_of_their_own_user(guard):
    """Not to root with its capabilities, to whom nothing is closed."""
    guarded = guard(
        """
        for pid in (os.getpid(), os.getppid()):
            for name in ("environ", "mem", "fd/0"):
                assert subprocess.run(["cat", f"/proc/{pid}/{name}"], stderr=subprocess.DEVNULL).returncode
        from services.executor.processes.table import children_of
        assert os.getpid() in children_of(os.getppid()), "but its children are known"
        """,
        prefix=PLAIN,
    )
    assert await guarded.ended(10) == 0, guarded.process.stderr.read()
