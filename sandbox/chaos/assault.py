"""Carries out a schedule against a running sandbox: kills, starts again, and measures how long each recovery took."""

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sandbox.chaos.schedule import Kill
from sandbox.errors import SandboxError
from sandbox.part import Part
from sandbox.ports import ensure_free

SAMPLE_SECONDS = 0.1
GRACE_SECONDS = 10.0


@dataclass(slots=True)
class Wound:
    """One death and what came after it, in seconds after it."""

    kill: Kill
    at: float
    """Seconds after the load began."""
    ready: float | None = None
    """Until the part answered again."""
    progress: float | None = None
    """Until another run or extraction had ended."""
    trouble: str | None = None
    """Why it did not come back, or was left alone."""


class Assault:
    """`ended` counts what has ended so far; it may raise while the database is away."""

    def __init__(
        self, parts: Sequence[Part], kills: Sequence[Kill], ended: Callable[[], int]
    ) -> None:
        self._parts: Mapping[str, Part] = {part.name: part for part in parts}
        self._kills = kills
        self._ended = ended
        self._restarting: dict[str, threading.Thread] = {}
        self._watching: list[threading.Thread] = []
        self.wounds: list[Wound] = []

    def run(self, over: threading.Event) -> None:
        """Until the schedule is through, or `over`; returns when every part is up again."""
        began = time.monotonic()
        for kill in self._kills:
            if over.wait(max(0.0, began + kill.at - time.monotonic())):
                break
            self._strike(kill, time.monotonic() - began)
        for thread in [*self._restarting.values(), *self._watching]:
            thread.join()

    def _strike(self, kill: Kill, at: float) -> None:
        wound = Wound(kill, round(at, 1))
        self.wounds.append(wound)
        former = self._restarting.get(kill.target)
        if former is not None and former.is_alive():
            wound.trouble = "left alone: it was not up yet"
            return
        before = self._count()
        struck = time.monotonic()
        _end(self._parts[kill.target], kill)
        restart = threading.Thread(target=self._restart, args=(wound, struck))
        self._restarting[kill.target] = restart
        restart.start()
        watch = threading.Thread(target=self._watch, args=(wound, struck, before))
        self._watching.append(watch)
        watch.start()

    def _restart(self, wound: Wound, struck: float) -> None:
        try:
            self._parts[wound.kill.target].start()
        except SandboxError as error:
            wound.trouble = str(error)
        else:
            wound.ready = round(time.monotonic() - struck, 2)

    def _watch(self, wound: Wound, struck: float, before: int | None) -> None:
        """Progress counts from the first number that was known after the death."""
        while time.monotonic() - struck < 120:
            time.sleep(SAMPLE_SECONDS)
            now = self._count()
            if before is None:
                before = now
            elif now is not None and now > before:
                wound.progress = round(time.monotonic() - struck, 2)
                return

    def _count(self) -> int | None:
        try:
            return self._ended()
        except Exception:  # noqa: BLE001 - the database is one of the victims
            return None


def _end(part: Part, kill: Kill) -> None:
    pid = part.pid
    if pid is None or not part.alive:
        return
    os.kill(pid, kill.signal)
    deadline = time.monotonic() + GRACE_SECONDS
    while part.alive:
        if time.monotonic() > deadline:
            part.kill()
        time.sleep(0.01)
    while time.monotonic() < deadline and not _is_free(part):
        time.sleep(0.01)  # of an executor, the worker ends a moment after its guardian


def _is_free(part: Part) -> bool:
    try:
        ensure_free(part.port, part=part.name, setting=part.port_setting)
    except SandboxError:
        return False
    return True
