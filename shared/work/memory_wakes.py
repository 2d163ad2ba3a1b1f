"""Wakes in this process, for the library and for tests: the same promises as in MongoDB, but for durability."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from shared.clock import SystemClock
from shared.ids import new_id
from shared.work.hearing import Ear, Hearing
from shared.work.ports import Wake

if TYPE_CHECKING:
    from shared.work.memory import MemoryWork


class MemoryWakes:
    """Implements `Wakes` for the workers that share one store."""

    def __init__(self, work: "MemoryWork") -> None:
        self._work = work
        self._store = work.store
        self._hearing = Hearing(self._told)
        self._store.hearings.append(self._hearing)

    async def wake(
        self,
        key: str,
        *,
        tenant: str,
        payload: Mapping[str, Any] | None = None,
        id: str | None = None,
        first: bool = False,
    ) -> None:
        name = f"{tenant}/{key}"
        wake = Wake(key, id or new_id(), payload or {})
        if not (first and name in self._store.wakes):
            self._store.wakes[name] = wake
        for hearing in self._store.hearings:
            hearing.ring(name, self._store.wakes[name].id)
        for document in self._waiting():
            if document["tenant"] == tenant:
                self.look(document)
        await self._work.publish()

    async def find(self, keys: Collection[str], *, tenant: str) -> list[Wake]:
        names = [f"{tenant}/{key}" for key in keys]
        return [self._store.wakes[name] for name in names if name in self._store.wakes]

    def listen(self, keys: Collection[str], *, tenant: str, heard: Collection[str] = ()) -> Ear:
        return self._hearing.listen([f"{tenant}/{key}" for key in keys], heard)

    def tell(self, key: str, *, tenant: str) -> bool:
        return self._hearing.ring(f"{tenant}/{key}")

    async def sweep(self) -> int:
        due = [item for item in self._waiting() if item["wake_at"] <= SystemClock().now()]
        for document in due:
            self._work.awake(document, "due")
        await self._work.publish()
        return len(due)

    async def stop(self) -> None:
        await self._hearing.stop()

    def look(self, document: dict[str, Any]) -> None:
        """Wake an item that waits for something that has been told."""
        for key in document["wake_keys"]:
            wake = self._store.wakes.get(f"{document['tenant']}/{key}")
            if wake is not None and wake.id not in document["heard"]:
                self._work.awake(document, "woken")
                return

    def _waiting(self) -> list[dict[str, Any]]:
        return [d for d in self._store.items.values() if d.get("status") == "waiting"]

    async def _told(self, names: Collection[str]) -> dict[str, str]:
        return {name: self._store.wakes[name].id for name in names if name in self._store.wakes}
