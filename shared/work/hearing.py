"""Who in this process waits for which wakes.

An item that stays with its owner while it waits for a moment is not found by the wake in the database: here its owner
is rung. Wakes of other processes are looked for every half second, as long as anybody listens.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field

from shared.errors import CadenzaError
from shared.tasks import end_tasks

POLL_SECONDS = 0.5

Look = Callable[[Collection[str]], Awaitable[dict[str, str]]]
"""Which of these wakes have been told: name → id."""


@dataclass(eq=False, slots=True)
class Ear:
    """Implements `shared.work.ports.Listener`."""

    hearing: "Hearing"
    names: frozenset[str]
    heard: frozenset[str]
    rung: asyncio.Event = field(default_factory=asyncio.Event)

    def close(self) -> None:
        self.hearing.leave(self)


class Hearing:
    """The listeners of one process. `look` reads what was told."""

    def __init__(self, look: Look, *, poll_seconds: float = POLL_SECONDS) -> None:
        self._look = look
        self._poll_seconds = poll_seconds
        self._ears: dict[str, set[Ear]] = {}
        self._polling: asyncio.Task[None] | None = None

    def listen(self, names: Collection[str], heard: Collection[str]) -> Ear:
        ear = Ear(self, frozenset(names), frozenset(heard))
        for name in ear.names:
            self._ears.setdefault(name, set()).add(ear)
        if self._ears and (self._polling is None or self._polling.done()):
            self._polling = asyncio.create_task(self._poll(), name="hearing")
        return ear

    def leave(self, ear: Ear) -> None:
        for name in ear.names:
            if (ears := self._ears.get(name)) is not None:
                ears.discard(ear)
                if not ears:
                    del self._ears[name]

    def ring(self, name: str, id_: str | None = None) -> bool:
        """False when nobody listens for it."""
        ears = [ear for ear in self._ears.get(name, ()) if id_ is None or id_ not in ear.heard]
        for ear in ears:
            ear.rung.set()
        return bool(ears)

    async def stop(self) -> None:
        await end_tasks(self._polling)

    async def _poll(self) -> None:
        """Ends when nobody listens any more; the next listener starts it again."""
        while self._ears:
            with suppress(CadenzaError):  # the database is away; the next look finds it
                for name, id_ in (await self._look(list(self._ears))).items():
                    self.ring(name, id_)
            await asyncio.sleep(self._poll_seconds)
