"""Nothing that a step starts outlives it unasked, whatever it does and however worker and guardian end."""

import os
import shutil
import signal
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from tests.promises.platform import check_invariants
from tests.promises.processes import DAEMON, Pids, alive, folders, shell, worker_of

pytestmark = [pytest.mark.breaks, pytest.mark.timeout(180)]


@pytest.fixture
def pids(tmp_path):
    return Pids(tmp_path)


@pytest.fixture
def public():
    """A folder outside of pytest's own, which are closed to other users."""
    folder = Path(tempfile.mkdtemp(prefix="cadenza-work-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def busy(pids: Pids) -> str:
    """A child, a child in another session, and a daemon without environment; then a long sleep."""
    return f"{DAEMON.format(pids=pids.path)} sleep 99 & echo $! >> {pids.path}; setsid sleep 99 & echo $! >> {pids.path}; echo $$ >> {pids.path}; sleep 99"


def test_a_killed_worker_takes_every_descendant_along_within_two_seconds(cadenza, pids):
    cadenza.service("gateway")
    first = cadenza.service("executor")
    once = f"test -e {pids.path} && exit; {busy(pids)}"
    execution_id = cadenza.submit(shell(once))
    cadenza.until(lambda: len(pids()) == 4, what="the processes")
    below = cadenza.pids_below(first)
    worker_of(first).kill()
    started = time.monotonic()
    cadenza.until(lambda: not any(map(alive, {*below, *pids()})), timeout=10, what="their end")
    assert time.monotonic() - started < 2
    cadenza.until(lambda: not first.alive, what="the guardian's end")
    assert folders(cadenza), "the folder of the lost run"
    second = cadenza.service("executor")
    (document,) = cadenza.wait_final(execution_id, timeout=40)
    assert document["status"] == "completed"
    cadenza.until(lambda: not folders(cadenza), what="no folder to be left")
    assert list((cadenza.folder / "work").iterdir()) == [next((cadenza.folder / "work").iterdir())]
    assert cadenza.pids_below(second) == [worker_of(second).pid]
    check_invariants(cadenza, [execution_id])


def test_what_a_killed_guardian_leaves_is_ended_by_the_next(cadenza, pids):
    cadenza.service("gateway")
    first = cadenza.service("executor")
    once = f"test -e {pids.path} && exit; {busy(pids)}"
    execution_id = cadenza.submit(shell(once))
    cadenza.until(lambda: len(pids()) == 4, what="the processes")
    worker = worker_of(first)
    os.kill(first.pid, signal.SIGKILL)
    cadenza.until(lambda: not alive(worker.pid), what="the worker to die with its guardian")
    cadenza.service("executor")
    cadenza.until(lambda: not any(map(alive, pids())), timeout=5, what="their end")
    (document,) = cadenza.wait_final(execution_id, timeout=40)
    assert document["status"] == "completed"
    cadenza.until(lambda: not folders(cadenza), what="no folder to be left")


FORKS = """python3 -c 'import os, time
n = 0
try:
    while n < 1000:
        if not os.fork():
            os.setsid()
            time.sleep(99)
        n += 1
except BlockingIOError:
    print(n, flush=True)
time.sleep(99)'"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start steps as other users")
def test_steps_of_other_users_within_limits_cannot_read_the_executor(cadenza, public):
    cadenza.service("gateway")
    executor = cadenza.service(
        "executor",
        EXECUTOR__WORK_DIR=str(public),
        EXECUTOR__STEP_UIDS="[61011, 61012]",
        EXECUTOR__OPEN_FILES_LIMIT="64",
        EXECUTOR__FILE_SIZE_LIMIT_MB="1",
        EXECUTOR__MEMORY_LIMIT_MB="2000",
        EXECUTOR__CPU_LIMIT_SECONDS="77",
        EXECUTOR__USER_PROCESSES_LIMIT="50",
        EXECUTOR__SECRETS='{"acme": {"token": "s3cr3t-value"}}',
    )
    reading = f"for pid in $PPID {executor.pid}; do cat /proc/$pid/environ && exit 1; cat /proc/$pid/mem && exit 1; done"
    execution_id = cadenza.submit(
        shell(f"{reading}; true", "reading"),
        shell(
            "id -u; ulimit -n; ulimit -f; ulimit -v; ulimit -t; ulimit -u; ulimit -H -n", "limits"
        ),
        shell("grep NoNewPrivs /proc/self/status", "privileges"),
        shell("test ${#TOKEN} = 12", "secret", env={"TOKEN": "${{ secrets.token }}"}),
        shell("! head -c 2000000 /dev/zero > file", "file"),
        shell(FORKS, "forks", timeout_seconds=3),
    )
    cadenza.wait_final(execution_id)
    steps = {step["step_name"]: step for step in cadenza.steps(execution_id)}
    texts = {
        chunk["step_name"]: chunk["text"]
        for chunk in cadenza.database.execution_logs.find(
            {"execution_id": execution_id, "stream": "stdout"}
        )
    }
    assert steps["reading"]["status"] == "completed", steps["reading"]
    assert "reading" not in texts
    assert texts["limits"].split() == ["61011", "64", "1024", "2048000", "77", "50", "64"]
    assert texts["privileges"].split() == ["NoNewPrivs:", "1"]
    assert steps["secret"]["status"] == "completed"
    assert steps["file"]["status"] == "completed", "no file of two megabytes"
    assert steps["forks"]["status"] == "timed_out"
    assert 10 < int(texts["forks"]) < 50
    cadenza.until(lambda: not _processes_of(61011), timeout=2, what="all forks to be gone")
    a_neighbours_working_directory_is_closed(cadenza, public)
    executor.stop()
    assert list(public.iterdir()) == [], cadenza.tails()


def a_neighbours_working_directory_is_closed(cadenza, public):
    """Two runs side by side: the second looks for what the first one works on, and tries to leave something there."""
    staying = "chmod 777 .; echo theirs > mine; until test -e over; do sleep 0.05; done"
    neighbour = cadenza.submit(shell(staying))
    cadenza.until(lambda: any(public.rglob("mine")), what="the neighbour to work")
    (mine,) = public.rglob("mine")
    folder = mine.parent
    tries = [
        f"cat {mine}",
        f"ls {folder}",
        f"ls {folder.parent}",
        f"touch {folder}/planted",
        f"cd {folder}",
        f"find {public} -name mine | grep .",
        "cat ../../*/work/mine",
        f"ln {mine} taken",
    ]
    got = "; ".join(f"{{ {one}; }} && exit {number}" for number, one in enumerate(tries, 1))
    curious = cadenza.submit(shell(f"id -u; {got}; exit 0"))
    cadenza.wait_final(curious)
    (step,) = cadenza.steps(curious)
    assert (step["status"], step["exit_code"]) == ("completed", 0)
    assert sorted(path.name for path in folder.iterdir()) == ["mine"]
    (printed,) = cadenza.database.execution_logs.find({"execution_id": curious, "stream": "stdout"})
    users = {int(printed["text"]), mine.stat().st_uid}
    assert users == {61011, 61012}
    (folder / "over").touch()
    (document,) = cadenza.wait_final(neighbour)
    assert document["status"] == "completed"


def _processes_of(uid: int) -> list[int]:
    return [
        process.pid for process in psutil.process_iter(["uids"]) if process.info["uids"].real == uid
    ]
