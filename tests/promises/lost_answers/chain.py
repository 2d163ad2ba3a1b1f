"""One service behind the proxy: its writes are struck in the middle of load, one at a time; then all must come to rest."""

import threading
import time
from collections.abc import Sequence
from typing import Any, Self

from sandbox.module import Module
from tests.promises.crash_points.harness import Chain
from tests.promises.lost_answers.writes import Write
from tests.promises.platform import Platform
from tests.promises.wire import Fault, Rule, Wire

FAULTS = (Fault.LOST_ANSWER, Fault.NEVER_SENT, Fault.LATE)
LATEST = 1.5
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


class Lossy(Chain):
    """Goes before the chain of a service. Everybody else has a way of their own to the database."""

    wire: Wire
    module: Module | None = None

    @classmethod
    def over(cls, it: Platform, service: str, wire: Wire, *, more: int) -> Self:
        chain = cls(it, service, more=more)
        chain.wire = wire
        chain.settings = {**chain.settings, "MONGO__URI": wire.uri}
        chain.prepare()
        return chain

    def prepare(self) -> None:
        """What else has to stand."""

    def strike_each(self, writes: Sequence[Write], *, every: bool) -> None:
        """Each write with one fault of the seed's, or with `every` one; then one look at everything."""
        schedule = [
            (write, fault)
            for write in writes
            for fault in (FAULTS if every else self.rng.sample(FAULTS, 1))
        ]
        self.rng.shuffle(schedule)
        self.module = self.start(None)
        for write, fault in schedule:
            self._strike(write, fault)
        self.wire.clear()
        if not self.module.alive:
            self.start(None)
        self.end()

    def _strike(self, write: Write, fault: Fault) -> None:
        began = time.monotonic()
        late = self.rng.uniform(0, LATEST)
        self.make_ready()
        rule = self.wire.on(write.matches, fault)
        struck = Struck(self.living(write), rule)
        getattr(self, write.reach)(struck)
        self.it.until(lambda: rule.happened, timeout=60, what=f"{write.name} to be struck")
        if fault is Fault.LATE:
            threading.Timer(late, rule.release).start()
            assert rule.delivered.wait(30), f"{write.name} was never delivered"
        self.after(write, struck)
        self.wire.clear()
        print(f"{fault.name} {write.name}: {time.monotonic() - began:.1f} s")

    def make_ready(self) -> None:
        """Before each write."""

    def living(self, write: Write) -> Any:
        """The process that is to send it."""
        return self.module

    def after(self, write: Write, struck: Struck) -> None:
        """When the write has been struck."""
