"""One executor behind the proxy: each of its writes is struck once, in the middle of load; then all must come to rest."""

import threading
import time
from collections.abc import Sequence

from sandbox.module import Module
from tests.promises.crash_points.executors import ExecutorChain
from tests.promises.crash_points.harness import QUICK
from tests.promises.lost_answers.writes import Write
from tests.promises.platform import Platform
from tests.promises.wire import Fault, Rule, Wire

FAULTS = (Fault.LOST_ANSWER, Fault.NEVER_SENT, Fault.LATE)
LATEST = 2.0
"""Seconds that a late write may come late."""


class Struck:
    """Stands for the process in the chain's methods, which go on until it "dies": here, until the rule has struck."""

    def __init__(self, module: Module, rule: Rule) -> None:
        self.module = module
        self._rule = rule

    @property
    def alive(self) -> bool:
        assert self.module.alive or self._rule.happened, "the process has died"
        return not self._rule.happened

    @property
    def pid(self) -> int | None:
        return self.module.pid


class LossyExecutor(ExecutorChain):
    """The gateway has its own way to the database."""

    def __init__(self, it: Platform, wire: Wire, *, more: int) -> None:
        super().__init__(it, "executor", more=more)
        self._wire = wire
        self.settings = QUICK | {"MONGO__URI": wire.uri}
        self._module: Module | None = None

    def strike(self, writes: Sequence[Write], faults: Sequence[Fault]) -> None:
        """Every write with every fault, in an order of the seed's; then one look at everything."""
        schedule = [(write, fault) for write in writes for fault in faults]
        self.rng.shuffle(schedule)
        self._module = self.start(None)
        for write, fault in schedule:
            self._strike(write, fault)
        self._wire.clear()
        if not self._module.alive:
            self.start(None)
        self.end()

    def _strike(self, write: Write, fault: Fault) -> None:
        began = time.monotonic()
        late = self.rng.uniform(0, LATEST)
        self._make_room()
        rule = self._wire.on(write.matches, fault)
        struck = Struck(self._living(lost=write.reach == "lost"), rule)
        getattr(self, write.reach)(struck)
        self.it.until(lambda: rule.happened, timeout=60, what=f"{write.name} to be struck")
        if fault is Fault.LATE:
            threading.Timer(late, rule.release).start()
            assert rule.delivered.wait(30), f"{write.name} was never delivered"
        if write.reach == "terminate":
            self.it.until(lambda: not struck.module.alive, what="the end of the process")
        self._wire.clear()
        print(f"{fault.name} {write.name}: {time.monotonic() - began:.1f} s")

    def _living(self, *, lost: bool) -> Module:
        """The process; a new one when the old one was told to end, or is to be lost in the middle of something."""
        assert self._module is not None
        if not self._module.alive:
            self._module = self.start(None)
        if lost:
            run = self._running(self._module)
            self.it.until(lambda: self.it.steps(run)[0]["status"] == "running")
            self._module.kill()
            self._module = self.start(None)
        return self._module
