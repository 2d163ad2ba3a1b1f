"""What makes an executor come by each of its crash points."""

import asyncio
import os
import random
import signal
from pathlib import Path
from typing import Any

from sandbox.chaos import load
from sandbox.chaos.load import Planned
from sandbox.module import Module
from services.executor.bootstrap import work_queue
from services.executor.settings import ExecutorGroup
from shared.ids import new_id
from shared.kafka.publishing import KafkaEventPublisher
from shared.work.pipelines import claimed
from tests.builders.runs import a_cancel_of, a_run_requested
from tests.conftest import kafka_settings_of
from tests.promises.crash_points.harness import QUICK, Chain


class ExecutorChain(Chain):
    """The gateway lives all the time."""

    def mixed(self, module: Module) -> None:
        """One run of each kind, again until the process has come by."""
        for _ in range(5):
            for planned in load.each_kind(self.rng):
                self.offer(planned)
            if self.died(module, seconds=4):
                return

    def one_by_one(self, module: Module) -> None:
        """Runs that meet an empty queue and a free slot."""
        while module.alive:
            self.offer(load.noop(self.rng))
            self.died(module, seconds=0.4)

    def crowd(self, module: Module) -> None:
        """Every slot is taken, some runs have to wait; they are claimed when slots become free, one after another."""
        self._make_room()
        held = [
            self.offer(_long(self.rng), patient=True)
            for _ in range(int(QUICK["EXECUTOR__RUN_SLOTS"]))
        ]
        last = [self.offer(load.process(self.rng)) for _ in range(5)][-1]
        self.it.until(lambda: self.status(last) is not None or not module.alive)
        for one in held:
            self._at_the_end.remove(one)
            self.cancel(one)
            if self.died(module, seconds=0.5):
                return

    def long(self, module: Module) -> None:
        """Something that is held for longer than a renewal takes."""
        self._running(module)

    def cancel_running(self, module: Module) -> None:
        self._make_room()
        if running := self._running(module):
            self._at_the_end.remove(running)
            self.cancel(running)

    def cancel_queued(self, module: Module) -> None:
        """Every slot is taken, some runs have to wait; one of them is cancelled there."""
        self._make_room()
        offered = [self.offer(_long(self.rng), patient=True) for _ in range(9)]
        waiting: list[str] = []

        def some_wait() -> bool:
            waiting[:] = [one for one in offered if self.status(one) == "queued"]
            return bool(waiting) or not module.alive

        self.it.until(some_wait, what="a run to wait")
        last = waiting[-1] if waiting else offered[-1]
        self._at_the_end.remove(last)
        self.cancel(last)

    def before_lost(self) -> None:
        """A process is killed while a step runs, and the database knows that it does."""
        module = self.start(None)
        self._make_room()
        begun = {"execution_id": self._running(module), "attempt": {"$ne": None}}
        steps = self.it.database.execution_steps
        self.it.until(lambda: steps.count_documents(begun) > 0, what="the step to begin")
        module.kill()

    def lost(self, module: Module) -> None:
        """It finds what a former process has left."""

    def terminate(self, module: Module) -> None:
        self._running(module)
        os.kill(module.pid or 0, signal.SIGTERM)

    def orphan(self, module: Module) -> None:
        """The answer to a claim is lost: the item is the worker's in the database, and the worker does not know."""
        owner = self._owner_of(module)
        queue = [self.offer(_long(self.rng), patient=True) for _ in range(12)]
        taken = False
        while not taken and module.alive:
            result = self.it.database.executions.find_one_and_update(
                {"_id": {"$in": queue}, "status": "queued", "cancel": None},
                claimed(_QUEUE, owner=owner, token="of a lost answer"),
            )
            taken = result is not None

    def unreadable(self, module: Module) -> None:
        asyncio.run(self._send_raw("run-requested", b"\xff{not json"))

    def cancel_first(self, module: Module) -> None:
        """The cancel of a run comes before the run."""
        request = a_run_requested(load.noop(self.rng).plan)
        id_ = request.execution_id
        asyncio.run(self._publish(a_cancel_of(request)))
        self.it.until(
            lambda: self.it.execution(id_) is not None or not module.alive, what="the tombstone"
        )
        ends = {"cancelled"}
        if (
            self.it.execution(id_) is None
        ):  # it died of another one's: this cancel may come too late
            ends.add("completed")
        self.planned[id_] = Planned("cancelled first", request.plan or {}, frozenset(ends))
        asyncio.run(self._publish(request))

    def wakes(self, module: Module) -> None:
        """Runs that wait for something, which is told before they do or after."""
        while module.alive:
            key = f"chain/{new_id()}"
            early = self.rng.random() < 0.5
            if early:
                self._tell(key)
            waits = self.offer(_hearing(key))
            self.offer(_tried_again(self.it.folder / new_id()))
            if not early:
                self.it.until(
                    lambda waits=waits: self.status(waits) == "waiting" or not module.alive,
                    what="it to wait",
                )
                self._tell(key)
            self.died(module, seconds=0.5)

    def lanes(self, module: Module) -> None:
        """Parents with children."""
        while module.alive:
            self.offer(_lanes(self.rng))
            self.died(module, seconds=1)

    def cancel_waiting(self, module: Module) -> None:
        """A parent that waits has to end its children first."""
        self._make_room()
        while module.alive:
            waits = self.offer(_long_lanes(self.rng), patient=True)
            self.it.until(
                lambda waits=waits: self.status(waits) == "waiting" or not module.alive,
                what="it to wait",
            )
            self._at_the_end.remove(waits)
            self.cancel(waits)
            self.died(module, seconds=1)

    def _tell(self, key: str) -> None:
        with self.it.client() as client:
            answer = client.post(f"/v1/events/{key}", json={"said": "hello"})
        assert answer.status_code == 202, answer.text

    def start(self, armed: str | None) -> Module:
        self._former = self._owners()
        return super().start(armed)

    def _make_room(self) -> None:
        """A process goes on with what its predecessor held: long runs of former points would keep every slot."""
        self._to_cancel += self._at_the_end
        self._at_the_end.clear()
        self.cancel_all()

    def _running(self, module: Module) -> str:
        """A long run that this very process holds."""
        self.offer(_long(self.rng), patient=True)
        found: list[str] = []

        def is_held() -> bool:
            held = self.it.database.executions.find(
                {"_id": {"$in": self._at_the_end}, "status": "running", **self._ours()}
            )
            found[:] = [row["_id"] for row in held]
            return bool(found) or not module.alive

        self.it.until(is_held, what="it to be started")
        return found[0] if found else ""

    def _ours(self) -> dict[str, Any]:
        return {"lease.owner": {"$nin": sorted(self._former)}}

    def _owners(self) -> set[str]:
        return {one for one in self.it.database.executions.distinct("lease.owner") if one}

    def _owner_of(self, module: Module) -> str:
        """What this process calls itself in leases; nothing when it has died meanwhile."""
        document = self.it.execution(self._running(module)) or {}
        return str((document.get("lease") or {}).get("owner", ""))

    async def _publish(self, event: Any) -> None:
        publisher = KafkaEventPublisher(kafka_settings_of(self.it.kafka))
        await publisher.start()
        try:
            await publisher.publish(event)
        finally:
            await publisher.stop()

    async def _send_raw(self, topic: str, value: bytes) -> None:
        publisher = KafkaEventPublisher(kafka_settings_of(self.it.kafka))
        await publisher.start()
        try:
            await publisher.send_raw(topic, new_id().encode(), value, {})
        finally:
            await publisher.stop()


_QUEUE = work_queue(ExecutorGroup(lease_seconds=3, renew_seconds=0.5))


def _long(rng: random.Random) -> Planned:
    """Runs until it is given up or, at the end, cancelled."""
    return load.cancelled(rng)


def _hearing(key: str) -> Planned:
    """Ends only when it has heard what it waits for."""
    steps = [
        {"name": "hear", "command": {"type": "wait_for_event", "key": key}},
        {
            "name": "say",
            "command": {"type": "shell", "command": "echo ${{ steps.hear.outputs.said }}"},
        },
    ]
    plan = {"name": "hearing", "steps": steps}
    return Planned("hearing", plan, frozenset({"completed"}), {"say": "hello\n"})


def _tried_again(mark: Path) -> Planned:
    """Its first sub-plan fails, the second one does it."""
    script = f"echo $CADENZA_EXECUTION_ID >> {mark}; test $(sort -u {mark} | wc -l) -gt 1"
    inner = {
        "name": "sub",
        "steps": [{"name": "s", "command": {"type": "shell", "command": script}}],
    }
    retry = {"max_attempts": 20, "initial_delay_seconds": 0.05, "factor": 1}
    step = {"name": "sub", "command": {"type": "plan", "plan": inner}, "retry": retry}
    return Planned("tried again", {"name": "again", "steps": [step]}, frozenset({"completed"}))


def _lanes(rng: random.Random) -> Planned:
    """Ends when each of its rows has."""
    rows = [{"n": number} for number in range(rng.randint(3, 12))]
    step = {"name": "say", "command": {"type": "shell", "command": "echo ${{ row.n }}"}}
    plan = {"name": "lanes", "steps": [step], "data": rows, "max_lanes": rng.randint(1, 4)}
    return Planned("lanes", plan, frozenset({"completed"}))


def _long_lanes(rng: random.Random) -> Planned:
    """Its lanes would take a minute."""
    step = {"name": "long", "command": {"type": "shell", "command": "sleep 60"}}
    rows = [{"n": number} for number in range(rng.randint(1, 3))]
    plan = {"name": "long lanes", "steps": [step], "data": rows}
    return Planned("long lanes", plan, frozenset({"cancelled"}), cancel=True)
