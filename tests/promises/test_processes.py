"""Nothing that a step starts outlives it unasked, whatever it does and however worker and guardian end."""

import os
import signal
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from tests.builders.runs import a_step
from tests.promises.platform import check_invariants

pytestmark = [pytest.mark.breaks, pytest.mark.timeout(180)]

DAEMON = "setsid env -i /bin/bash -c 'setsid /bin/bash -c \"echo \\$\\$ >> {pids}; exec sleep 99\" & exit' &"
"""In a session of its own, nobody's child, without its environment."""


def shell(command: str, name: str = "one", **more):
    return a_step(name, command={"type": "shell", "command": command}, **more)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def worker_of(executor) -> psutil.Process:
    """The guardian's child that is not a step's."""
    return next(
        child
        for child in psutil.Process(executor.pid).children()
        if "services.executor" in " ".join(child.cmdline())
    )


class Pids:
    """A file that steps write process ids to."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "pids"

    def __call__(self) -> list[int]:
        return [int(word) for word in self.path.read_text().split()] if self.path.exists() else []


@pytest.fixture
def pids(tmp_path):
    return Pids(tmp_path)


def folders(it) -> list[Path]:
    """Working directories of runs."""
    return list((it.folder / "work").glob("*/*"))


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


def test_daemons_and_folders_go_with_their_run_however_it_ends(cadenza, pids):
    cadenza.service("gateway")
    executor = cadenza.service("executor")
    daemon = DAEMON.format(pids=pids.path)
    stopped = "trap '' TERM; kill -STOP $$; sleep 99"
    ends = {
        cadenza.submit(shell(f"{daemon} sleep 0.2")): "completed",
        cadenza.submit(shell(f"{daemon} sleep 0.2; exit 3")): "failed",
        cadenza.submit(shell(f"{daemon} sleep 99", timeout_seconds=1)): "failed",
        cadenza.submit(shell(f"{daemon} {stopped}", timeout_seconds=1)): "failed",
        cadenza.submit(shell(f"{daemon} sleep 99"), timeout_seconds=1): "timed_out",
        (cancelled := cadenza.submit(shell(f"{daemon} {stopped}"))): "cancelled",
    }
    cadenza.until(lambda: len(pids()) == len(ends), what="the daemons")
    with cadenza.client() as client:
        client.post(f"/v1/executions/{cancelled}/cancel", json={})
    documents = cadenza.wait_final(*ends)
    assert {doc["_id"]: doc["status"] for doc in documents} == ends
    assert not any(map(alive, pids())), "gone when the run is said to have ended"
    assert folders(cadenza) == []
    assert cadenza.pids_below(executor) == [worker_of(executor).pid]
    check_invariants(cadenza, list(ends))


def test_two_hundred_processes_at_once_and_the_next_one_waits(cadenza, tmp_path):
    cadenza.service("gateway")
    executor = cadenza.service("executor", EXECUTOR__PROCESS_LIMIT="200")
    worker = worker_of(executor)
    gate, go, began = tmp_path / "gate", tmp_path / "go", tmp_path / "began"
    os.mkfifo(gate)
    cadenza.wait_final(cadenza.submit(shell("true")))
    before = worker.num_fds()
    steps = [
        shell(f"echo x >> {began}; test -e {go} || read _ < {gate}; true", f"s{n}")
        for n in range(201)
    ]
    execution_id = cadenza.submit(*steps, strategy={"type": "parallel"})

    def begun() -> int:
        return len(began.read_text().split()) if began.exists() else 0

    cadenza.until(lambda: begun() == 200, timeout=60, what="200 processes")
    time.sleep(0.5)
    assert begun() == 200, "the next one waits"
    assert len(worker.children()) == 200
    go.touch()
    gate.open("w").close()
    (document,) = cadenza.wait_final(execution_id, timeout=60)
    assert document["status"] == "completed"
    assert begun() == 201
    cadenza.until(lambda: worker.num_fds() <= before + 5, what="descriptors to be given back")
    assert worker.children() == [], "no zombie, nobody left"
    assert folders(cadenza) == []


FLOODS = {
    "1 GB of lines": "yes 0123456789abcde | head -c 1073741824",
    "one line of 100 MB": "head -c 100000000 /dev/zero | tr '\\0' x",
    "1 GB without a newline": "head -c 1073741824 /dev/zero",
    "both streams": "yes out | head -c 50000000 & yes err | head -c 50000000 >&2; wait",
}


def test_floods_of_output_are_cut_and_the_memory_stays_bounded(cadenza):
    cadenza.service("gateway")
    executor = cadenza.service("executor")
    worker = worker_of(executor)
    cap = 10 * 1024 * 1024
    cadenza.wait_final(cadenza.submit(shell("seq 1 100000")))
    before = worker.memory_info().rss
    Path(f"/proc/{worker.pid}/clear_refs").write_text("5")  # the peak counts from here
    ids = {name: cadenza.submit(shell(f"{text}; exit 5")) for name, text in FLOODS.items()}
    cadenza.wait_final(*ids.values(), timeout=120)
    peak = _peak(worker.pid)
    assert peak - before < 100 * 1024 * 1024, f"{before >> 20} MiB became {peak >> 20} MiB"
    for name, execution_id in ids.items():
        (step,) = cadenza.steps(execution_id)
        assert (step["exit_code"], step["truncated"]) == (5, True), name
        for stream in ("stdout", "stderr") if name == "both streams" else ("stdout",):
            chunks = cadenza.database.execution_logs.find(
                {"execution_id": execution_id, "stream": stream}
            )
            assert sum(len(chunk["text"]) for chunk in chunks) == cap, (name, stream)


def _peak(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


HOSTILE = "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x07\x08\r\n nul:\0 \u202ebidi\u2066 \u0085 $__proto__ \ufeff\n"


def test_hostile_output_and_names_come_out_to_the_letter(cadenza):
    cadenza.service("gateway")
    cadenza.service("executor")
    source = f"""#!/usr/bin/env python3
import os, sys
sys.stdout.buffer.write({HOSTILE.encode()!r})
sys.stderr.buffer.write(b"bad:\\xff\\n")
os.chdir(os.environ["CADENZA_ARTIFACTS"])
for name in (b"\\xe2\\x80\\xaename.txt", b"line\\nbreak", b"$set.a"):
    open(name, "w").write("x")
"""
    execution_id = cadenza.submit(
        a_step("one", command={"type": "script", "source": source.replace("\\\\", "\\")})
    )
    (document,) = cadenza.wait_final(execution_id)
    assert document["status"] == "completed", cadenza.steps(execution_id)
    base = f"/v1/executions/{execution_id}"
    with cadenza.client() as client:
        chunks = client.get(f"{base}/logs").json()["items"]
        text = client.get(f"{base}/logs?stream=stdout", headers={"Accept": "text/plain"})
        artifacts = client.get(f"{base}/artifacts").json()["items"]
        contents = [client.get(f"{base}/artifacts/{a['artifact_id']}/content") for a in artifacts]
    assert text.content == HOSTILE.encode()
    of = {
        stream: "".join(c["text"] for c in chunks if c["stream"] == stream)
        for stream in ("stdout", "stderr", "system")
    }
    assert of["stdout"] == HOSTILE
    assert of["stderr"] == "bad:\ufffd\n"
    assert of["system"].startswith('artifact "line\\nbreak" was not kept')
    assert {a["artifact_name"] for a in artifacts} == {"\u202ename.txt", "$set.a"}
    assert {answer.content for answer in contents} == {b"x"}
    assert all(answer.headers["content-disposition"].isascii() for answer in contents)
    check_invariants(cadenza, [execution_id])


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
def test_steps_of_other_users_within_limits_cannot_read_the_executor(cadenza):
    folder = Path(
        tempfile.mkdtemp(prefix="cadenza-work-")
    )  # pytest's own folders are closed to others
    cadenza.service("gateway")
    executor = cadenza.service(
        "executor",
        EXECUTOR__WORK_DIR=str(folder),
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
    executor.stop()
    assert list(folder.iterdir()) == []
    folder.rmdir()


def _processes_of(uid: int) -> list[int]:
    return [
        process.pid for process in psutil.process_iter(["uids"]) if process.info["uids"].real == uid
    ]
