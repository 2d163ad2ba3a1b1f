"""Many processes, much output and hostile bytes on a platform that stands through it all."""

import os
import time
from pathlib import Path

import pytest

from tests.builders.runs import a_step
from tests.promises.platform import check_invariants, platform
from tests.promises.processes import DAEMON, Pids, alive, folders, shell, worker_of

pytestmark = [pytest.mark.breaks, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def standing(kafka_process, mongo_process, tmp_path_factory):
    """A gateway and an executor that no test of this file breaks."""
    with platform(kafka_process, mongo_process, tmp_path_factory.mktemp("standing")) as it:
        it.service("gateway")
        # Two hundred processes on two cores may hold the executor up for seconds; nobody else waits for its runs here.
        patient = {"EXECUTOR__LEASE_SECONDS": "60", "EXECUTOR__RENEW_SECONDS": "5"}
        it.service("executor", EXECUTOR__PROCESS_LIMIT="200", **patient)
        yield it


@pytest.fixture
def pids(tmp_path):
    return Pids(tmp_path)


def test_daemons_and_folders_go_with_their_run_however_it_ends(standing, pids):
    executor = standing.modules[1]
    daemon = DAEMON.format(pids=pids.path)
    stopped = "trap '' TERM; kill -STOP $$; sleep 99"
    ends = {
        standing.submit(shell(f"{daemon} sleep 0.2")): "completed",
        standing.submit(shell(f"{daemon} sleep 0.2; exit 3")): "failed",
        standing.submit(shell(f"{daemon} sleep 99", timeout_seconds=1)): "failed",
        standing.submit(shell(f"{daemon} {stopped}", timeout_seconds=1)): "failed",
        standing.submit(shell(f"{daemon} sleep 99"), timeout_seconds=1): "timed_out",
        (cancelled := standing.submit(shell(f"{daemon} {stopped}"))): "cancelled",
    }
    standing.until(lambda: len(pids()) == len(ends), what="the daemons")
    with standing.client() as client:
        client.post(f"/v1/executions/{cancelled}/cancel", json={})
    documents = standing.wait_final(*ends)
    assert {doc["_id"]: doc["status"] for doc in documents} == ends
    assert not any(map(alive, pids())), "gone when the run is said to have ended"
    assert folders(standing) == []
    assert standing.pids_below(executor) == [worker_of(executor).pid]
    check_invariants(standing, list(ends))


def test_two_hundred_processes_at_once_and_the_next_one_waits(standing, tmp_path):
    executor = standing.modules[1]
    worker = worker_of(executor)
    gate, go, began = tmp_path / "gate", tmp_path / "go", tmp_path / "began"
    os.mkfifo(gate)
    standing.wait_final(standing.submit(shell("true")))
    before = worker.num_fds()
    steps = [
        shell(f"echo x >> {began}; test -e {go} || read _ < {gate}; true", f"s{n}")
        for n in range(201)
    ]
    execution_id = standing.submit(*steps, strategy={"type": "parallel"})

    def begun() -> int:
        return len(began.read_text().split()) if began.exists() else 0

    standing.until(lambda: begun() == 200, timeout=60, what="200 processes")
    time.sleep(0.5)
    assert begun() == 200, "the next one waits"
    assert len(worker.children()) == 200
    go.touch()
    gate.open("w").close()
    (document,) = standing.wait_final(execution_id, timeout=60)
    assert document["status"] == "completed"
    assert begun() == 201
    standing.until(lambda: worker.num_fds() <= before + 5, what="descriptors to be given back")
    assert worker.children() == [], "no zombie, nobody left"
    assert folders(standing) == []


FLOODS = {
    "1 GB of lines": "yes 0123456789abcde | head -c 1073741824",
    "one line of 100 MB": "head -c 100000000 /dev/zero | tr '\\0' x",
    "both streams": "yes out | head -c 50000000 & yes err | head -c 50000000 >&2; wait",
}


def test_floods_of_output_are_cut_and_the_memory_stays_bounded(standing):
    executor = standing.modules[1]
    worker = worker_of(executor)
    cap = 10 * 1024 * 1024
    standing.wait_final(standing.submit(shell("seq 1 100000")))
    before = worker.memory_info().rss
    Path(f"/proc/{worker.pid}/clear_refs").write_text("5")  # the peak counts from here
    ids = {name: standing.submit(shell(f"{text}; exit 5")) for name, text in FLOODS.items()}
    standing.wait_final(*ids.values(), timeout=120)
    peak = _peak(worker.pid)
    assert peak - before < 100 * 1024 * 1024, f"{before >> 20} MiB became {peak >> 20} MiB"
    for name, execution_id in ids.items():
        (step,) = standing.steps(execution_id)
        assert (step["exit_code"], step["truncated"]) == (5, True), name
        for stream in ("stdout", "stderr") if name == "both streams" else ("stdout",):
            chunks = standing.database.execution_logs.find(
                {"execution_id": execution_id, "stream": stream}
            )
            assert sum(len(chunk["text"]) for chunk in chunks) == cap, (name, stream)


def _peak(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


HOSTILE = "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x07\x08\r\n nul:\0 \u202ebidi\u2066 \u0085 $__proto__ \ufeff\n"


def test_hostile_output_and_names_come_out_to_the_letter(standing):
    source = f"""#!/usr/bin/env python3
import os, sys
sys.stdout.buffer.write({HOSTILE.encode()!r})
sys.stderr.buffer.write(b"bad:\\xff\\n")
os.chdir(os.environ["CADENZA_ARTIFACTS"])
for name in (b"\\xe2\\x80\\xaename.txt", b"line\\nbreak", b"$set.a"):
    open(name, "w").write("x")
"""
    execution_id = standing.submit(
        a_step("one", command={"type": "script", "source": source.replace("\\\\", "\\")})
    )
    (document,) = standing.wait_final(execution_id)
    assert document["status"] == "completed", standing.steps(execution_id)
    base = f"/v1/executions/{execution_id}"
    with standing.client() as client:
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
    check_invariants(standing, [execution_id])
