"""The guardian as process 1 of a process space of its own, as in a container."""

import os
import signal
import subprocess
import sys

import psutil
import pytest

from services.executor.processes.ownership import orphans
from tests.unit.executor.processes.contexts import until

SPACE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]


def _refused() -> str | None:
    try:
        result = subprocess.run([*SPACE, "true"], capture_output=True, text=True, check=False)
    except OSError as error:
        return str(error)
    return result.stderr.strip() or None if result.returncode else None


pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="process spaces need Linux"),
    pytest.mark.breaks,
]


@pytest.fixture
def container(guard):
    if why := _refused():
        pytest.skip(f"no process space of one's own here (run as root): {why}")
    return lambda body: guard(body, prefix=SPACE)


def below(guarded) -> list[psutil.Process]:
    """The processes inside, seen from outside; the first is the guardian."""
    return psutil.Process(guarded.process.pid).children(recursive=True)


async def all_gone(processes) -> None:
    def running(process) -> bool:
        try:
            return process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    await until(lambda: not any(map(running, processes)), 2)


async def test_it_is_process_one_reaps_zombies_and_ends_all_with_the_worker(container):
    guarded = container(
        """
        (folder / "parent").write_text(str(os.getppid()))
        for _ in range(20):
            subprocess.run(["bash", "-c", "(sleep 0.1; exit 1) & (setsid env -i /bin/true) & exit 0"])
        from services.executor.processes.table import snapshot
        until = time.monotonic() + 10
        while (orphans := [row for row in snapshot().children(1) if row.pid != os.getpid()
                           and row.pid != int((folder / "daemon").read_text())]):
            assert time.monotonic() < until, orphans
            time.sleep(0.05)
        (folder / "reaped").touch()
        time.sleep(60)
        """
    )
    await guarded.up()
    await until((guarded.folder / "reaped").exists, 15)
    assert guarded.read("parent") == "1"
    inside = below(guarded)
    assert len(inside) >= 4, "guardian, worker, its step, the daemon"
    inside[1].kill()
    await all_gone(inside)
    assert await guarded.ended() == 128 + signal.SIGKILL


async def test_sigterm_to_process_one_reaches_the_worker_whose_code_comes_out(container):
    guarded = container(
        """
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(43))
        (folder / "ready").touch()
        time.sleep(60)
        """
    )
    await guarded.up()
    await until((guarded.folder / "ready").exists)
    inside = below(guarded)
    os.kill(inside[0].pid, signal.SIGTERM)
    assert await guarded.ended() == 43
    await all_gone(inside)


CHAIN = """
import os, time
until = time.time() + 60  # should nobody end it, the machine goes on
while time.time() < until:  # nobody has a parent that lives
    if os.fork():
        os._exit(0)
    os.setsid()
    time.sleep(0.002)
"""


async def test_a_worker_that_forks_without_end_and_is_killed_leaves_nothing(container):
    """Each process leaves the session of the one before; a few dozen live at any time."""
    guarded = container(
        f"""
        loop = "while :; do setsid sleep 3 & sleep 0.05; done"
        subprocess.Popen(["bash", "-c", loop], start_new_session=True)
        subprocess.Popen([sys.executable, "-c", {CHAIN!r}])
        time.sleep(60)
        """
    )
    await guarded.up()
    await until(lambda: len(below(guarded)) > 10)
    inside = below(guarded)
    inside[1].kill()
    assert await guarded.ended(10) == 128 + signal.SIGKILL
    await all_gone(inside)


async def test_a_guardian_outside_leaves_what_runs_inside_alone(container):
    """From outside the mark names a guardian that is not there: its process id is one of the inside."""
    guarded = container("time.sleep(60)")
    await guarded.up()
    inside = {process.pid for process in below(guarded)}
    assert len(inside) >= 4
    assert not inside & {row.pid for row in orphans()}
    guarded.process.kill()
