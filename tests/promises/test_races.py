"""Two at the same moment, on real processes: keys, cancels, ends, owners that sleep past their lease."""

import asyncio
import os
import random
import signal
import time
from collections.abc import Sequence
from typing import Any

import httpx
import psutil
import pytest

from sandbox.chaos.evidence import gather, unfinished
from sandbox.chaos.invariants import broken
from sandbox.chaos.load import Planned
from sandbox.chaos.remains import folders_of, processes_of
from shared.kafka.publishing import KafkaEventPublisher
from tests.builders.runs import a_cancel_of, a_plan, a_run_requested, a_step
from tests.conftest import kafka_settings_of
from tests.promises.processes import alive, shell

pytestmark = [pytest.mark.breaks, pytest.mark.timeout(180)]
KEY = {"X-API-Key": "acme-key"}


@pytest.fixture
def rng():
    seed = int(os.environ.get("SEED") or random.randrange(10**6))
    print(f"seed {seed}")
    return random.Random(seed)


def check(cadenza, ids, *, steps: int = 1, ends: Sequence[str] = ("completed",)) -> None:
    """Every promise about these runs, once all has come to rest; nothing of them is left on the machine."""
    left: list[str] = []

    def over() -> bool:
        left[:] = unfinished(cadenza.database, ids)
        return not left

    cadenza.until(over, timeout=60, what="the end of everything")
    planned = Planned("raced", {"steps": [{}] * steps}, frozenset(ends))
    evidence = gather(cadenza.database, cadenza.kafka.bootstrap_servers, ids)
    assert not broken(evidence, dict.fromkeys(ids, planned))
    cadenza.until(lambda: not processes_of(ids), timeout=10, what="the processes to end")
    work = cadenza.folder / "work"
    cadenza.until(lambda: not folders_of(work, ids), timeout=10, what="the folders to go")


def clients(modules) -> list[httpx.AsyncClient]:
    return [
        httpx.AsyncClient(base_url=module.url, headers=KEY, timeout=30, trust_env=False)
        for module in modules
    ]


def test_gateways_that_get_one_key_at_the_same_moment_make_one_run_of_it(cadenza, rng):
    """200 keys, each offered to three gateways at once, every other one with two bodies."""
    gateways = clients([cadenza.service("gateway") for _ in range(3)])
    answers = asyncio.run(_offer(gateways, 200, rng))
    ids = []
    for key, of_key in answers.items():
        accepted = [answer for answer in of_key if answer.status_code == 202]
        assert accepted, [answer.text for answer in of_key]
        assert len({answer.json()["execution_id"] for answer in accepted}) == 1
        assert len({answer.headers["location"] for answer in accepted}) == 1
        refused = [answer for answer in of_key if answer.status_code != 202]
        assert {answer.status_code for answer in refused} <= {409}
        assert {answer.json()["code"] for answer in refused} <= {"idempotency_key_reused"}
        if int(key) % 2 == 0:
            assert not refused, "the same body is the same request"
        else:  # the name that won is the body that the others are measured by
            won = {answer.request.content for answer in accepted}
            assert len(won) == 1
            assert all(answer.request.content not in won for answer in refused)
            assert refused
        ids.append(accepted[0].json()["execution_id"])
    assert cadenza.database.accepted_events.count_documents({}) == 200
    cadenza.service("executor", EXECUTOR__RUN_SLOTS="30")
    cadenza.wait_final(*ids, timeout=60)
    assert cadenza.database.executions.count_documents({}) == 200
    check(cadenza, ids)


async def _offer(gateways, count, rng) -> dict[str, list[httpx.Response]]:
    async def post(gateway, key, name):
        body = {"plan": {"name": name, "steps": [a_step()]}}
        return await gateway.post("/v1/executions", json=body, headers={"Idempotency-Key": key})

    found: dict[str, list[httpx.Response]] = {}
    for start in range(0, count, 20):
        keys = [str(number) for number in range(start, start + 20)]
        calls = [
            (key, place, post(gateway, key, f"{int(key) % 2 and place}"))
            for key in keys
            for place, gateway in enumerate(gateways)
        ]
        rng.shuffle(calls)
        results = await asyncio.gather(*(call for _, _, call in calls))
        for (key, _, _), answer in zip(calls, results, strict=True):
            found.setdefault(key, []).append(answer)
    for gateway in gateways:
        await gateway.aclose()
    return found


def test_cancel_against_the_end_at_random_moments(cadenza, rng):
    """One end each, whoever was first; what the caller was told was true."""
    gateway = cadenza.service("gateway")
    cadenza.service("executor", EXECUTOR__RUN_SLOTS="20")
    cadenza.service("executor", EXECUTOR__RUN_SLOTS="20")
    cadenza.wait_final(cadenza.submit(a_step()))
    told = asyncio.run(_cancel_at_random(gateway, 300, rng))
    documents = cadenza.wait_final(*told, timeout=60)
    statuses = {"cancelled": 0, "completed": 0}
    for document in documents:
        status, answer = document["status"], told[document["_id"]]
        statuses[status] += 1
        if answer.status_code == 409:
            assert status in answer.json()["detail"], "told that it had ended, and how"
            assert status == "completed"
        else:
            assert answer.status_code == 202
            assert answer.json()["status"] in ("queued", "running")
        assert (document["cancel"] is not None) == (status == "cancelled")
        for step in cadenza.steps(document["_id"]):
            assert status == "cancelled" or step["status"] == "completed"
    print(statuses, {n: sum(a.status_code == n for a in told.values()) for n in (202, 409)})
    assert min(statuses.values()) > 10, "both orders were seen"
    check(cadenza, list(told), steps=2, ends=("completed", "cancelled"))


async def _cancel_at_random(gateway, count, rng) -> dict[str, httpx.Response]:
    (client,) = clients([gateway])
    places = asyncio.Semaphore(15)
    told: dict[str, httpx.Response] = {}

    async def one() -> None:
        async with places:
            steps = [shell("sleep 0.05", "first"), a_step("last")]
            body = {"plan": {"name": "x", "steps": steps}}
            id_ = (await client.post("/v1/executions", json=body)).json()["execution_id"]
            await asyncio.sleep(rng.random() * 0.4)
            told[id_] = await client.post(f"/v1/executions/{id_}/cancel", json={})

    await asyncio.gather(*(one() for _ in range(count)))
    await client.aclose()
    return told


def test_cancels_that_overtake_their_runs(cadenza, rng):
    """Both come through Kafka, in any order, some twice: whoever is first, the run ends once, and no step runs after."""
    cadenza.service("executor", EXECUTOR__RUN_SLOTS="20")
    cadenza.service("executor", EXECUTOR__RUN_SLOTS="20")
    requests = [a_run_requested(a_plan(shell("sleep 0.1"))) for _ in range(120)]
    messages = [*requests, *rng.sample(requests, 30)]
    messages += [a_cancel_of(request) for request in requests]
    messages += [a_cancel_of(request) for request in rng.sample(requests, 30)]
    rng.shuffle(messages)
    asyncio.run(_publish(cadenza, messages, rng))
    ids = [request.execution_id for request in requests]
    documents = cadenza.wait_final(*ids, timeout=60)
    assert {document["status"] for document in documents} <= {"cancelled", "completed"}
    assert sum(document["status"] == "cancelled" for document in documents) > 20
    assert not any("tombstone" in document for document in documents)
    for document in documents:
        if document["started_at"] is None:
            assert {step["status"] for step in cadenza.steps(document["_id"])} == {"pending"}
    check(cadenza, ids, ends=("completed", "cancelled"))


async def _publish(cadenza, events: Sequence[Any], rng) -> None:
    publisher = KafkaEventPublisher(kafka_settings_of(cadenza.kafka))
    await publisher.start()
    try:
        for event in events:
            await publisher.publish(event)
            await asyncio.sleep(rng.random() * 0.01)
    finally:
        await publisher.stop()


def test_an_owner_that_sleeps_past_its_lease_writes_nothing_when_it_wakes(cadenza, tmp_path):
    """Guardian, worker and steps stand still, as in a paused container; another one takes the runs; then they wake."""
    cadenza.service("gateway")
    first = cadenza.service("executor", EXECUTOR__HOST_ID="sleeper")
    mark = tmp_path / "mark"
    long = cadenza.submit(
        shell(f"echo $$ >> {mark}; [ $(wc -l < {mark}) -gt 1 ] || sleep 60", "long"),
        a_step("after"),
    )
    ending = [cadenza.submit(shell("sleep 1.5; echo mine", "ends")) for _ in range(5)]
    cadenza.until(
        lambda: all(
            (cadenza.steps(id_) or [{}])[0].get("status") == "running" for id_ in (long, *ending)
        ),
        what="all steps to run",
    )
    asleep = [first.pid, *cadenza.pids_below(first)]
    for pid in asleep:
        os.kill(pid, signal.SIGSTOP)
    cadenza.service("executor", EXECUTOR__HOST_ID="other")
    documents = cadenza.wait_final(long, *ending, timeout=40)
    assert {d["status"] for d in documents} == {"completed"}
    assert {d["recoveries"] for d in documents} == {1}
    before = _everything(cadenza)

    for pid in asleep:
        os.kill(pid, signal.SIGCONT)
    cadenza.until(
        lambda: not any(alive(pid) for pid in asleep), timeout=15, what="the sleeper's end"
    )

    assert _everything(cadenza) == before
    for id_ in ending:
        (step,) = cadenza.steps(id_)
        assert [a["status"] for a in step["attempts"]] == ["lost", "completed"]
    _clear_after(cadenza, "sleeper")
    check(cadenza, ending)
    check(cadenza, [long], steps=2)


def test_a_worker_that_sleeps_is_ended_by_its_guardian(cadenza, tmp_path):
    """The same with only the worker standing still: its steps do not go on beyond its lease."""
    cadenza.service("gateway")
    first = cadenza.service("executor", EXECUTOR__HOST_ID="sleeper")
    mark = tmp_path / "mark"
    run = cadenza.submit(
        shell(f"echo $$ >> {mark}; [ $(wc -l < {mark}) -gt 1 ] || sleep 60", "long")
    )
    cadenza.until(mark.exists, what="the step to start")
    (worker,) = [
        child.pid
        for child in psutil.Process(first.pid).children()
        if "services.executor" in " ".join(child.cmdline())
    ]
    below = cadenza.pids_below(first)
    os.kill(worker, signal.SIGSTOP)
    cadenza.until(lambda: not any(alive(pid) for pid in below), timeout=15, what="the end of all")
    state = cadenza.execution(run)
    assert state["status"] in ("running", "queued"), "nobody else was there to take it"
    cadenza.service("executor", EXECUTOR__HOST_ID="other")
    (document,) = cadenza.wait_final(run, timeout=40)
    assert (document["status"], document["recoveries"]) == ("completed", 1)
    _clear_after(cadenza, "sleeper")
    check(cadenza, [run])


def _clear_after(cadenza, host: str) -> None:
    """Folders of an executor that was ended go when the next one starts on its host."""
    cadenza.service("executor", EXECUTOR__HOST_ID=host)


def _everything(cadenza) -> dict[str, Any]:
    """What is said of every run, by whoever: documents, steps, logs, artifacts."""
    names = ("executions", "execution_steps", "execution_logs", "execution_artifacts")
    return {
        name: [
            {field: value for field, value in row.items() if field not in ("events", "updated_at")}
            for row in cadenza.database[name].find().sort("_id", 1)
        ]
        for name in names
    }


def test_a_cancel_ends_the_wait_for_the_next_try(cadenza, tmp_path, rng):
    """Retries wait for seconds; a cancel in the middle of the wait, or at its very end, starts no further try."""
    cadenza.service("gateway")
    cadenza.service("executor", EXECUTOR__RUN_SLOTS="40")
    retry = {"max_attempts": 30, "initial_delay_seconds": 0.6, "factor": 1}
    ids, files = [], []
    for number in range(30):
        file = tmp_path / f"tries-{number}"
        step = shell(f"date +%s.%N >> {file}; exit 1", retry=retry)
        ids.append(cadenza.submit(step, a_step("never")))
        files.append(file)
    cadenza.until(lambda: all(file.exists() for file in files), what="the first tries")
    with cadenza.client() as client:
        for id_ in ids:
            time.sleep(rng.random() * 0.05)
            assert client.post(f"/v1/executions/{id_}/cancel", json={}).status_code == 202
    documents = cadenza.wait_final(*ids, timeout=15)
    assert {document["status"] for document in documents} == {"cancelled"}
    for document, file in zip(documents, files, strict=True):
        tries = file.read_text().splitlines()
        assert len(tries) < 30
        assert float(tries[-1]) < document["completed_at"].timestamp() + 0.5
        first, second = cadenza.steps(document["_id"])
        assert first["status"] in ("failed", "cancelled")
        assert second["status"] == "skipped"
        assert len(first["attempts"]) == len(tries), "every try is on record, and no other"
    check(cadenza, ids, steps=2, ends=("cancelled",))
