"""Fair turns, keys, labels and workers that are told to pause: with real executors, some of them killed."""

import asyncio
import os
import signal
import time
from itertools import pairwise
from statistics import median

import pytest

from services.executor.bootstrap import work_queue
from services.executor.documents import new_run
from services.executor.settings import ExecutorGroup
from shared.mongo.client import Mongo
from shared.work.queue import build_work
from tests.builders.runs import a_plan, a_run_requested, a_step
from tests.builders.work import Remembering
from tests.promises.platform import check_invariants
from tests.promises.processes import shell, worker_of

pytestmark = [pytest.mark.breaks, pytest.mark.timeout(240)]
MANY = 10_000


def queued_directly(it, plan, count, **changes):
    """As ingestion queues them, but without the way there: ten thousand are a state, not what is tested."""

    async def queue():
        mongo = Mongo(it.settings)
        work = build_work(
            mongo.database, work_queue(ExecutorGroup()), publisher=Remembering(), owner="maker"
        ).work
        ids = []
        for start in range(0, count, 1000):
            requests = [a_run_requested(plan, **changes) for _ in range(min(1000, count - start))]
            await work.add([new_run(request, plan) for request in requests])
            ids += [request.execution_id for request in requests]
        await mongo.stop()
        return ids

    return asyncio.run(queue())


def started(it, id_):
    return (it.execution(id_) or {}).get("started_at")


def test_ten_thousand_of_one_tenant_do_not_keep_another_waiting(cadenza):
    """The one starts within a second, while the others are being worked off; on a machine that others use as well most
    of the time, and never much later: with a fair share its turn comes long before the thousands.
    """
    cadenza.service("gateway")
    queued_directly(cadenza, a_plan(shell("sleep 0.1")), MANY, tenant="acme")
    cadenza.service("executor", EXECUTOR__RUN_SLOTS="6")
    executions = cadenza.database.executions
    cadenza.until(
        lambda: executions.count_documents({"status": "completed"}) > 20, what="work to go on"
    )
    waited = []
    for _ in range(5):
        with cadenza.client("other-key") as client:
            body = {"plan": a_plan()}
            id_ = client.post("/v1/executions", json=body).json()["execution_id"]
        cadenza.until(lambda id_=id_: started(cadenza, id_) is not None, what="the one to start")
        document = cadenza.execution(id_)
        waited.append((document["started_at"] - document["accepted_at"]).total_seconds())
    assert executions.count_documents({"status": "queued", "tenant": "acme"}) > MANY / 2
    print(f"waited {waited}")
    assert median(waited) < 1, waited
    assert max(waited) < 5, waited


def overlaps(record):
    """Pairs of times, written by the commands themselves, that lie within each other."""
    spans = sorted(
        tuple(map(float, line.split()))
        for line in record.read_text().splitlines()
        if len(line.split()) == 2
    )
    return [(one, other) for one, other in pairwise(spans) if other[0] < one[1]]


@pytest.mark.parametrize("killed", ["executor", pytest.param("worker", marks=pytest.mark.chaos)])
def test_never_two_at_once_under_one_key_also_across_kill_9(cadenza, tmp_path, killed):
    """Each command writes when it began and when it last lived; whoever is killed has written up to its death."""
    cadenza.service("gateway")
    quick = {"EXECUTOR__RUN_SLOTS": "4", "EXECUTOR__POLL_SECONDS": "0.1"}
    executors = [cadenza.service("executor", **quick) for _ in range(2)]
    folder = tmp_path / "spans"
    folder.mkdir()
    begin = f"f={folder}/$$.$(date +%s%N); b=$(date +%s.%N)"
    live = 'for n in 1 2 3 4 5 6; do echo "$b $(date +%s.%N)" > $f; sleep 0.05; done'
    key = {"concurrency": {"key": "db"}}
    ids = [cadenza.submit(shell(f"{begin}; {live}"), **key) for _ in range(8)]
    cadenza.until(lambda: len(list(folder.iterdir())) > 2, what="some to run")
    victim = executors[0]
    holder = cadenza.database.executions.find_one({"status": "running"}, {"lease": 1})
    if holder and f"/{victim.pid}/" not in holder["lease"]["owner"]:
        victim = executors[1]
    if killed == "executor":
        os.kill(victim.pid, signal.SIGKILL)
        cadenza.service("executor", **quick)
    else:
        worker_of(victim).kill()
    documents = cadenza.wait_final(*ids, timeout=90)
    assert {one["status"] for one in documents} == {"completed"}
    record = tmp_path / "record"
    record.write_text("".join(one.read_text() for one in folder.iterdir()))
    assert len(record.read_text().splitlines()) >= 8
    assert overlaps(record) == []
    cadenza.until(
        lambda: cadenza.database.slots.count_documents({"holders.0": {"$exists": True}}) == 0,
        what="the key to become free",
    )
    check_invariants(cadenza, ids)


def test_a_newer_run_takes_the_place_of_the_one_that_runs(cadenza, tmp_path):
    """Within a second or two, though the leases are renewed seldom, and though no slot is free for it."""
    cadenza.service("gateway")
    slow = {"EXECUTOR__LEASE_SECONDS": "60", "EXECUTOR__RENEW_SECONDS": "20"}
    cadenza.service("executor", EXECUTOR__RUN_SLOTS="1", **slow)
    replace = {"concurrency": {"key": "branch", "on_conflict": "replace"}}
    old = cadenza.submit(shell(f"touch {tmp_path}/began; sleep 60"), **replace)
    cadenza.until((tmp_path / "began").exists, what="the old one to run")
    new = cadenza.submit(a_step(), **replace)
    began = time.monotonic()
    documents = cadenza.wait_final(old, new, timeout=30)
    assert [(one["status"], one["reason"]) for one in documents] == [
        ("cancelled", "replaced"),
        ("completed", None),
    ]
    assert documents[0]["cancel"]["reason"] == f"replaced by {new}"
    assert time.monotonic() - began < 15, "it did not wait for a renewal"
    check_invariants(cadenza, [old, new])


@pytest.mark.chaos
def test_who_waits_too_long_and_who_has_no_worker(cadenza):
    cadenza.service("gateway")
    cadenza.service("executor", EXECUTOR__RUN_SLOTS="2", EXECUTOR__BROWSER_PATH="none")
    holder = cadenza.submit(shell("sleep 60"), concurrency={"key": "db"})
    late = cadenza.submit(a_step(), concurrency={"key": "db"}, queue_timeout_seconds=1.0)
    labelled = cadenza.submit(a_step(requires=["browser"]))
    (document,) = cadenza.wait_final(late, timeout=20)
    assert (document["status"], document["reason"]) == ("timed_out", "waiting_timeout")
    waited = document["completed_at"] - document["accepted_at"]
    assert waited.total_seconds() >= 1
    with cadenza.client() as client:
        (waiting,) = client.get("/v1/queue").json()["items"]
        assert waiting["execution_id"] == labelled
        assert waiting["reason"] == "no worker with label browser"
        cadenza.service("executor", EXECUTOR__LABELS="browser,region=eu")
        (document,) = cadenza.wait_final(labelled, timeout=20)
        assert document["status"] == "completed"
        client.post(f"/v1/executions/{holder}/cancel", json={})
    cadenza.wait_final(holder, timeout=20)
    check_invariants(cadenza, [holder, labelled])


def test_pause_drain_and_resume(cadenza, tmp_path):
    cadenza.service("gateway")
    cadenza.service("executor")
    with cadenza.client() as client:

        def worker():
            found = client.get("/v1/workers").json()["items"]
            return found[0] if found else {"state": None}

        def tell(action, state):
            id_ = worker()["worker_id"]
            assert client.post(f"/v1/workers/{id_}/{action}").status_code == 202
            began = time.monotonic()
            cadenza.until(lambda: worker()["state"] == state, timeout=10, what=state)
            print(f"{action}: {time.monotonic() - began:.1f} s")

        cadenza.until(lambda: worker()["state"] == "active", what="the worker to be listed")
        running = cadenza.submit(shell(f"touch {tmp_path}/began; sleep 60"))
        cadenza.until((tmp_path / "began").exists, what="a run to begin")
        tell("pause", "paused")
        tell("resume", "active")
        tell("drain", "draining")
        waiting = cadenza.submit(a_step())
        cadenza.until(lambda: cadenza.execution(waiting) is not None, what="it to be queued")
        assert client.get("/v1/queue").json()["items"][0]["code"] == "workers_paused"
        client.post(f"/v1/executions/{running}/cancel", json={})
        cadenza.wait_final(running, timeout=20)
        cadenza.until(lambda: worker()["state"] == "drained", what="it to be empty")
        assert cadenza.execution(waiting)["status"] == "queued"
        tell("resume", "active")
        cadenza.wait_final(waiting, timeout=20)
        audited = {one["action"] for one in cadenza.database.audit_logs.find()}
        assert {"worker.pause", "worker.drain", "worker.resume"} <= audited
