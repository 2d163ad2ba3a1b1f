"""Promises 2, 3 and 4: a killed worker's runs go on elsewhere, end once, and leave nothing behind."""

import os
import signal
import threading
import time

import psutil
import pytest

from tests.builders.runs import a_step
from tests.promises.platform import check_invariants
from tests.promises.processes import alive, shell

pytestmark = [pytest.mark.breaks, pytest.mark.timeout(180)]


def test_kill_9_of_the_executor_in_the_middle_of_a_step(cadenza, tmp_path):
    cadenza.service("gateway")
    first = cadenza.service("executor")
    pidfile = tmp_path / "pid"
    execution_id = cadenza.submit(
        shell("true", "before"),
        shell(f"echo $$ >> {pidfile}; sleep 4", "long"),
        shell("echo done", "after"),
    )
    cadenza.until(
        lambda: pidfile.exists() and bool(pidfile.read_text().strip()), what="the step to start"
    )
    orphan = int(pidfile.read_text().split()[0])
    until_recorded(cadenza, execution_id, "long")
    os.kill(first.pid, signal.SIGKILL)
    second = cadenza.service("executor")
    cadenza.until(lambda: not alive(orphan), timeout=10, what="the orphan to be ended")

    (document,) = cadenza.wait_final(execution_id, timeout=40)

    assert document["status"] == "completed"
    assert document["recoveries"] == 1
    steps = cadenza.steps(execution_id)
    assert [step["status"] for step in steps] == ["completed"] * 3
    assert [len(step["attempts"]) for step in steps] == [1, 2, 1]
    assert steps[1]["attempts"][0]["status"] == "lost"
    assert [fence["epoch"] for fence in document["log_fences"]] == [document["epoch"]]
    check_invariants(cadenza, [execution_id])
    assert second.alive


def test_a_restarted_executor_goes_on_without_waiting_for_its_predecessors_leases(
    cadenza, tmp_path
):
    """The guardian has ended what was left, so nobody else can be at work on these runs."""
    leases = {"EXECUTOR__LEASE_SECONDS": "120", "EXECUTOR__RENEW_SECONDS": "5"}
    cadenza.service("gateway")
    first = cadenza.service("executor", **leases)
    pidfile = tmp_path / "pid"
    execution_id = cadenza.submit(
        shell(f"echo $$ >> {pidfile}; [ $(wc -l < {pidfile}) -gt 1 ] || sleep 300", "long")
    )
    cadenza.until(
        lambda: pidfile.exists() and bool(pidfile.read_text().strip()), what="the step to start"
    )
    until_recorded(cadenza, execution_id, "long")
    os.kill(first.pid, signal.SIGKILL)
    cadenza.service("executor", **leases)
    assert not alive(int(pidfile.read_text().split()[0]))

    (document,) = cadenza.wait_final(execution_id, timeout=40)

    assert (document["status"], document["recoveries"]) == ("completed", 1)
    assert [a["status"] for a in cadenza.steps(execution_id)[0]["attempts"]] == [
        "lost",
        "completed",
    ]
    check_invariants(cadenza, [execution_id])


def test_a_living_neighbour_keeps_its_leases_when_another_executor_starts(cadenza, tmp_path):
    cadenza.service("gateway")
    cadenza.service("executor")
    mark = tmp_path / "mark"
    execution_id = cadenza.submit(shell(f"echo x >> {mark}; sleep 3", "long"))
    cadenza.until(mark.exists, what="the step to start")
    cadenza.service("executor")
    (document,) = cadenza.wait_final(execution_id, timeout=40)
    assert (document["status"], document["epoch"], document["recoveries"]) == ("completed", 1, 0)
    assert mark.read_text() == "x\n"


def test_a_step_that_may_not_run_twice_ends_as_lost_worker(cadenza, tmp_path):
    cadenza.service("gateway")
    first = cadenza.service("executor")
    mark = tmp_path / "mark"
    execution_id = cadenza.submit(shell(f"echo x >> {mark}; sleep 30", "pay", idempotent=False))
    cadenza.until(mark.exists, what="the step to start")
    os.kill(first.pid, signal.SIGKILL)
    cadenza.service("executor")
    (document,) = cadenza.wait_final(execution_id, timeout=40)
    assert document["status"] == "failed"
    assert cadenza.steps(execution_id)[0]["reason"] == "lost_worker"
    assert mark.read_text() == "x\n", "its effect happened once"


def test_a_stopped_executor_gives_its_runs_back(cadenza, tmp_path):
    cadenza.service("gateway")
    first = cadenza.service("executor", RUNTIME__DRAIN_SECONDS="0.5")
    mark = tmp_path / "mark"
    execution_id = cadenza.submit(
        shell(f"echo x >> {mark}; test $(wc -l < {mark}) -gt 1 || sleep 60")
    )
    cadenza.until(mark.exists, what="the step to start")
    stopper = threading.Thread(target=first.stop)
    stopper.start()
    cadenza.service("executor")
    (document,) = cadenza.wait_final(execution_id, timeout=30)
    stopper.join()
    assert document["status"] == "completed"
    assert document["recoveries"] == 0, "handing back is no loss"
    check_invariants(cadenza, [execution_id])


def test_two_executors_share_one_queue_and_run_each_run_once(cadenza):
    cadenza.service("gateway")
    cadenza.service("executor", EXECUTOR__RUN_SLOTS="20")
    cadenza.service("executor", EXECUTOR__RUN_SLOTS="20")
    with cadenza.client() as client:
        ids = [
            client.post("/v1/executions", json={"plan": {"name": "x", "steps": [a_step()]}}).json()[
                "execution_id"
            ]
            for _ in range(300)
        ]
    documents = cadenza.wait_final(*ids, timeout=60)
    assert {doc["status"] for doc in documents} == {"completed"}
    assert {doc["epoch"] for doc in documents} == {1}, "nobody claimed a run twice"
    check_invariants(cadenza, ids)


@pytest.mark.parametrize(
    ("command", "when"),
    [
        ("trap '' TERM; sleep 60 & wait; sleep 60", "running"),
        ("sleep 0.3", "at its end"),
    ],
)
def test_cancel_of_a_running_run(cadenza, command, when):
    cadenza.service("gateway")
    executor = cadenza.service("executor")
    execution_id = cadenza.submit(shell(command, "a"), shell("echo never", "b"))
    cadenza.until(
        lambda: (cadenza.execution(execution_id) or {}).get("status") == "running", what="the start"
    )
    if when == "at its end":
        time.sleep(0.25)
    with cadenza.client() as client:
        answer = client.post(f"/v1/executions/{execution_id}/cancel", json={"reason": "enough"})
    assert answer.status_code in (202, 409)
    (document,) = cadenza.wait_final(execution_id, timeout=10)
    assert document["status"] in (
        ("cancelled",) if when == "running" else ("cancelled", "completed")
    )
    cadenza.until(
        lambda: all(
            not alive(pid) or "services.executor" in " ".join(psutil.Process(pid).cmdline())
            for pid in cadenza.pids_below(executor)
        ),
        timeout=5,
        what="the process group to be gone",
    )
    if when == "running":
        assert cadenza.steps(execution_id)[1]["status"] == "skipped"
    check_invariants(cadenza, [execution_id])


def test_cancel_of_a_queued_run(cadenza, tmp_path):
    cadenza.service("gateway")
    cadenza.service("executor", EXECUTOR__RUN_SLOTS="1")
    blocker = cadenza.submit(shell("sleep 60"))
    cadenza.until(
        lambda: (cadenza.execution(blocker) or {}).get("status") == "running", what="the first run"
    )
    queued = cadenza.submit(shell(f"touch {tmp_path}/ran"))
    cadenza.until(lambda: cadenza.execution(queued) is not None, what="the second run to be queued")
    with cadenza.client() as client:
        assert client.get(f"/v1/executions/{queued}").json()["status"] == "queued"
        assert client.post(f"/v1/executions/{queued}/cancel", json={}).status_code == 202
        (document,) = cadenza.wait_final(queued, timeout=5)
        assert document["status"] == "cancelled"
        steps = client.get(f"/v1/executions/{queued}/steps").json()["items"]
        assert [step["status"] for step in steps] == ["skipped"]
        assert client.post(f"/v1/executions/{queued}/cancel", json={}).status_code == 409
        client.post(f"/v1/executions/{blocker}/cancel", json={})
    cadenza.wait_final(blocker, timeout=10)
    assert not (tmp_path / "ran").exists()


def until_recorded(it, execution_id, name):
    """A step that may run twice begins while the record of it is on its way."""
    it.until(
        lambda: any(
            step["step_name"] == name and step["status"] == "running"
            for step in it.steps(execution_id)
        ),
        what="the record of the step's beginning",
    )
