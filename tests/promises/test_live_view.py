"""The live view under fire: every client sees every transition once and in order, whatever is killed meanwhile."""

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from sandbox.kafka import Kafka
from sandbox.module import Module
from sandbox.mongo import Mongo
from shared.ids import derived_id
from tests.builders.watchers import KEY, Watcher, problems
from tests.promises.platform import Platform, check_invariants
from tests.promises.processes import shell

pytestmark = [pytest.mark.breaks, pytest.mark.timeout(240)]
SEED = int(os.environ.get("SEED") or time.time_ns() % 1_000_000)


class Swarm(threading.Thread):
    """Watchers in an event loop of their own."""

    def __init__(self, watchers: Sequence[Watcher], rng: random.Random, *, spread: float) -> None:
        super().__init__(daemon=True)
        self.watchers = watchers
        self.error: BaseException | None = None
        self._delays = [rng.uniform(0, spread) for _ in watchers]

    def run(self) -> None:
        try:
            asyncio.run(self._follow())
        except BaseException as error:
            self.error = error

    async def _follow(self) -> None:
        async def one(watcher: Watcher, delay: float) -> None:
            await asyncio.sleep(delay)
            await watcher.follow()

        async with asyncio.timeout(150):
            await asyncio.gather(*map(one, self.watchers, self._delays))


def stored(cadenza: Platform, run_id: str) -> tuple[dict[int, str], dict[int, str]]:
    """Event ids of a run's transitions by `sequence`, and of its log chunks by `chunk`, as the documents have them."""
    document = cadenza.execution(run_id)
    assert document is not None
    transitions = [*document["transitions"]]
    for step in cadenza.steps(run_id):
        transitions += step["transitions"]
    fences = document.get("log_fences") or []
    chunks = {
        log["chunk"]: log["_id"]
        for log in cadenza.database.execution_logs.find({"execution_id": run_id})
        if not any(log["epoch"] < f["epoch"] and log["chunk"] > f["chunk"] for f in fences)
    }
    return {t["sequence"]: derived_id(run_id, t["sequence"]) for t in transitions}, chunks


def check(cadenza: Platform, watchers: Sequence[Watcher]) -> None:
    ids = sorted({watcher.run_id for watcher in watchers})
    known = {run_id: stored(cadenza, run_id) for run_id in ids}
    wrong = [
        f"{watcher.run_id}: {problem}; {watcher.connections} connections"
        for watcher in watchers
        for problem in problems(watcher, *known[watcher.run_id])
    ]
    assert not wrong, f"{len(wrong)} of {len(watchers)}:\n" + "\n".join(wrong[:20])
    statuses = {status for watcher in watchers for status in watcher.statuses}
    assert statuses <= {0, 200, 503}, statuses
    on_kafka: dict[str, dict[int, str]] = {}
    for row in cadenza.events():
        if row["type"] not in ("step.log", "step.progress"):
            on_kafka.setdefault(row["execution_id"], {})[row["sequence"]] = row["id"]
    assert {run_id: on_kafka[run_id] for run_id in ids} == {i: known[i][0] for i in ids}


def restart(module: Module) -> None:
    """Kill it without warning and start it again at the same address."""
    os.kill(module.pid or 0, signal.SIGKILL)
    module.kill()
    module.start()


def talkative(cadenza: Platform, until: Path) -> str:
    """A run whose steps write lines until a file is there; then some more steps follow."""
    wait = f"while [ ! -e {until} ]; do echo line; sleep 0.5; done; echo bye"
    return cadenza.submit(
        *(shell(wait, f"talk-{n}") for n in range(3)),
        *(shell("echo after", f"after-{n}", needs=["talk-0", "talk-1"]) for n in range(3)),
        strategy={"type": "dependency_graph"},
    )


def in_the_storm(
    cadenza: Platform,
    go: Path,
    *,
    runs: int,
    clients: int,
    rounds: int,
    gap: float,
    parts: Sequence[Kafka | Mongo] = (),
) -> list[Watcher]:
    """All clients follow while gateways and executor (and `parts`) are killed; what each saw is held against what is
    stored.
    """
    print("seed", SEED)
    rng = random.Random(SEED)
    gateways = [cadenza.service("gateway") for _ in range(2)]
    executor = cadenza.service("executor", EXECUTOR__RUN_SLOTS="40")
    ids = [talkative(cadenza, go) for _ in range(runs)]
    urls = [gateway.url for gateway in gateways]
    # the first run has half of all clients, the others share the rest
    chosen = [ids[0]] * (clients // 2) + [ids[n % runs] for n in range(clients - clients // 2)]
    watchers = [Watcher(urls, run_id, random.Random(rng.random())) for run_id in chosen]
    swarm = Swarm(watchers, rng, spread=gap)
    swarm.start()
    for _ in range(rounds):
        for gateway in gateways:
            time.sleep(rng.uniform(0.5, 1.5) * gap)  # what is broken, is broken at random moments
            restart(gateway)
        for part in parts:
            part.kill()
            time.sleep(rng.uniform(0.5, 1.5) * gap)
            part.start()
        os.kill(executor.pid or 0, signal.SIGKILL)
        executor.kill()
        executor = cadenza.service("executor", EXECUTOR__RUN_SLOTS="40")
    go.touch()
    documents = cadenza.wait_final(*ids, timeout=120)
    swarm.join(timeout=60)
    assert not swarm.is_alive() and swarm.error is None, repr(swarm.error)
    assert {doc["status"] for doc in documents} == {"completed"}
    assert all(doc["recoveries"] for doc in documents), "each run has lost its worker"
    check(cadenza, watchers)
    check_invariants(cadenza, ids)
    return watchers


@pytest.mark.parametrize("command", [["logs", "-f", "--json"], ["run", "--follow", "--json"]])
def test_the_command_line_follows_a_run_over_a_killed_gateway(cadenza, tmp_path, command):
    gateway = cadenza.service("gateway")
    cadenza.service("executor")
    go, said = tmp_path / "go", tmp_path / "said"
    argument = talkative(cadenza, go) if command[0] == "logs" else _plan_file(tmp_path, go)
    environment = {**os.environ, "CADENZA_URL": gateway.url, "CADENZA_API_KEY": KEY}
    with said.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", *command, argument], stdout=out, env=environment
        )
    try:
        cadenza.until(
            lambda: cadenza.database.execution_logs.count_documents({}) > 1, what="the first lines"
        )
        restart(gateway)
        go.touch()
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait()
    if command[0] == "run":
        assert json.loads(said.read_text())["status"] == "completed"
    else:
        told = [json.loads(line)["data"]["chunk"] for line in said.read_text().splitlines()]
        assert sorted(told) == sorted(stored(cadenza, argument)[1])


def _plan_file(folder: Path, go: Path) -> str:
    wait = shell(f"while [ ! -e {go} ]; do echo line; sleep 0.3; done")
    (folder / "plan.json").write_text(json.dumps({"name": "a plan", "steps": [wait]}))
    return str(folder / "plan.json")


@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_a_thousand_clients_over_many_kills(cadenza, tmp_path):
    in_the_storm(cadenza, tmp_path / "go", runs=30, clients=1_000, rounds=3, gap=4.0)


@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_a_thousand_clients_over_a_killed_broker_and_a_killed_database(
    fragile, own_kafka, own_mongo, tmp_path
):
    parts = [own_kafka, own_mongo]
    in_the_storm(fragile, tmp_path / "go", runs=8, clients=1_000, rounds=1, gap=3.0, parts=parts)


def test_a_gateway_that_stops_tells_a_thousand_clients_and_is_gone_within_five_seconds(
    cadenza, tmp_path
):
    rng = random.Random(0)
    stopped, other = cadenza.service("gateway"), cadenza.service("gateway")
    cadenza.service("executor", EXECUTOR__RUN_SLOTS="10")
    go = tmp_path / "go"
    ids = [talkative(cadenza, go) for _ in range(3)]
    urls = [stopped.url]
    watchers = [Watcher(urls, ids[n % 3], random.Random(rng.random())) for n in range(1_000)]
    swarm = Swarm(watchers, rng, spread=1.0)
    swarm.start()
    cadenza.until(
        lambda: all(watcher.seen for watcher in watchers), timeout=60, what="all to be connected"
    )
    urls[:] = [other.url]
    begun = time.monotonic()
    process = psutil.Process(stopped.pid)
    process.terminate()
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.wait_procs([process], timeout=20)
    took = time.monotonic() - begun
    go.touch()
    swarm.join(timeout=90)
    assert not swarm.is_alive() and swarm.error is None, repr(swarm.error)
    assert took < 5, f"stopped after {took:.1f} s"
    assert [watcher.notices for watcher in watchers] == [["stopping"]] * 1_000
    cadenza.wait_final(*ids, timeout=30)
    check(cadenza, watchers)


def test_a_thousand_clients_over_killed_gateways_and_a_killed_executor(cadenza, tmp_path):
    go = tmp_path / "go"
    watchers = in_the_storm(cadenza, go, runs=12, clients=1_000, rounds=1, gap=2.0)
    assert sum(watcher.connections > 1 for watcher in watchers) > 500
