"""One chain of crash points over one platform: arm, load, wait for the death, arm the next; then look at what is left.

Everything that is random comes from the seed: kinds and order of the runs, at which visit a point stops. The seed is
printed; `SEED=… make chaos TESTS=…` offers the same schedule again.
"""

import os
import random
import time
from collections.abc import Sequence

import pytest

from sandbox.chaos.evidence import gather, unfinished
from sandbox.chaos.invariants import broken
from sandbox.chaos.load import Planned
from sandbox.chaos.remains import folders_of, processes_of
from sandbox.errors import SandboxError
from sandbox.module import Module
from shared.views.executions import FINAL
from tests.promises.crash_points.table import Point
from tests.promises.platform import Platform

QUICK = {
    "KAFKA__SESSION_TIMEOUT_MS": "2000",  # the next one need not wait long for the dead one's partitions
    "RUNTIME__DRAIN_SECONDS": "0.3",
    "EXECUTOR__RUN_SLOTS": "6",
    "GATEWAY__RELAY_GRACE_SECONDS": "0.3",
    "GATEWAY__RELAY_SECONDS": "0.2",
    "GATEWAY__RELAY_CLAIM_SECONDS": "1",
    "GATEWAY__RECONCILE_AFTER_SECONDS": "0.5",
    "GATEWAY__RECONCILE_SECONDS": "0.3",
}


FIRST_SEED = int(os.environ.get("SEED") or time.time_ns() % 1_000_000)
MORE = [
    0,
    *(
        pytest.param(number, marks=pytest.mark.chaos)
        for number in range(1, int(os.environ.get("SEEDS") or 5))
    ),
]
"""What is added to the first seed: nothing, unless this is the long version. Names of tests must not depend on it."""


class Chain:
    """Starts one service again and again, each time with the next point armed."""

    def __init__(self, it: Platform, service: str, *, more: int) -> None:
        seed = FIRST_SEED + more
        print(f"seed {seed}")
        self.it = it
        self.service = service
        self.rng = random.Random(seed)
        self.planned: dict[str, Planned] = {}
        self.settings = QUICK
        self._to_cancel: list[str] = []
        self._at_the_end: list[str] = []

    def run(self, points: Sequence[Point]) -> None:
        """Every point in turn, then one process that is not armed and brings all to its end."""
        for point in points:
            self.stop_at(point)
        self.start(None)
        self.end()

    def stop_at(self, point: Point) -> None:
        """A process dies at this point; nowhere else, and not of anything else."""
        armed = f"{point.name}:{self.rng.randint(1, point.most)}"
        if prepare := getattr(self, f"before_{point.reach}", None):
            prepare()
        module = self.start(armed)
        getattr(self, point.reach)(module)
        deadline = time.monotonic() + 60
        while module.alive:
            assert time.monotonic() < deadline, (
                f"{armed} was never reached {self._open(list(self.planned))}\n{self.it.tails()}"
            )
            time.sleep(0.02)
        assert f"stopped at crash point {point.name}" in self.said(module), (
            f"it died of something else than {armed}\n{self.it.tails()}"
        )

    def start(self, armed: str | None) -> Module:
        module = self.it.service(self.service, crash=armed, start=False, **self.settings)
        try:
            module.start()
        except SandboxError:
            if armed is None or module.alive:
                raise  # an armed one may die before anybody has seen that it was ready
        return module

    def died(self, module: Module, *, seconds: float) -> bool:
        """Whether it has died, looked at for some time."""
        deadline = time.monotonic() + seconds
        while module.alive and time.monotonic() < deadline:
            time.sleep(0.02)
        return not module.alive

    def said(self, module: Module) -> str:
        return (self.it.folder / f"{module.name}.log").read_text(errors="replace")

    def end(self) -> None:
        """Wait until all has come to rest, and hold it against the promises."""
        self._to_cancel += self._at_the_end
        self.cancel_all()
        ids = list(self.planned)
        left: list[str] = []

        def over() -> bool:
            left[:] = unfinished(self.it.database, ids)
            return not left

        try:
            self.it.until(over, timeout=90, what="the end of everything")
        except AssertionError as error:
            raise AssertionError(f"{left} {self._open(ids)}\n{error}") from None
        evidence = gather(self.it.database, self.it.kafka.bootstrap_servers, ids)
        found = broken(evidence, self.planned)
        assert not found, "\n".join(found)
        self.it.until(lambda: not processes_of(ids), timeout=10, what="the processes to end")
        work = self.it.folder / "work"
        self.it.until(lambda: not folders_of(work, ids), timeout=10, what="the folders to go")

    def offer(self, planned: Planned, *, key: str | None = None, patient: bool = False) -> str:
        """Have it accepted; one that is to be cancelled is so at once, later, or (`patient`) when nobody needs it."""
        headers = {"Idempotency-Key": key} if key else {}
        id_ = self.it.submit(
            *planned.plan["steps"],
            headers=headers,
            **{name: value for name, value in planned.plan.items() if name != "steps"},
        )
        self.planned[id_] = planned
        if planned.cancel and patient:
            self._at_the_end.append(id_)
        elif planned.cancel:
            self._to_cancel.append(id_)
            if self.rng.random() < 0.5:
                self.cancel_all()
        return id_

    def cancel_all(self) -> None:
        while self._to_cancel:
            self.cancel(self._to_cancel.pop())

    def cancel(self, id_: str) -> None:
        with self.it.client() as client:
            answer = client.post(f"/v1/executions/{id_}/cancel", json={"reason": "enough"})
        assert answer.status_code in (202, 409), answer.text

    def status(self, id_: str) -> str | None:
        document = self.it.execution(id_)
        return document and document.get("status")

    def _open(self, ids: Sequence[str]) -> list[object]:
        query = {"_id": {"$in": list(ids)}, "status": {"$nin": list(FINAL)}}
        return [
            (row["_id"], self.planned[row["_id"]].kind, row["status"], row["epoch"], row["lease"])
            for row in self.it.database.executions.find(query).limit(5)
        ]
