"""Group commit: concurrent changes share one writer.

While one bulk is in flight the next group gathers; the first change goes at once when nothing is in flight. With a
pace, a group of several changes makes the next one gather a little longer (`shared.pacing`).

A change is one guarded update of one document. It carries an id that the document keeps in `applied`, so that it is
never applied twice however often it is sent, and so that a short total can be traced to exactly the changes that lost
their guard. An answer that is lost means *unknown*: the same change is sent again until a majority read shows its id
or a guard that can never hold again; the next group waits for that.

Within a group the bulk of one collection is acknowledged before the bulk of the next is sent (`order`), and a change
is dropped when one that it `needs` failed.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Protocol

from shared.errors import StorageUnavailable
from shared.mongo.bulk import BulkWriter, Verdict
from shared.mongo.changes import (
    Change,
    Emission,
    Encoded,
    InvalidChange,
    LostGuard,
    absorb,
    encode,
)
from shared.mongo.client import Database
from shared.observability.instruments import GROUP_SECONDS, GROUP_SIZE
from shared.pacing import Pace
from shared.tasks import end_tasks

__all__ = ["Change", "Emission", "GroupCommit", "InvalidChange", "Listener", "LostGuard"]

MAX_CHANGES = 500
MAX_BYTES = 8 * 1024 * 1024
REMEMBERED_FAILURES = 4096


class Listener(Protocol):
    """Hears of every change: when it is submitted, and what became of it."""

    def submitted(self, change: Change) -> None: ...

    def committed(self, changes: Sequence[Change]) -> None: ...

    def refused(self, change: Change) -> None: ...


@dataclass(slots=True)
class _Waiting:
    change: Change
    encoded: Encoded
    done: "asyncio.Future[None]"
    absorbed: "list[_Waiting]" = field(default_factory=list)


class GroupCommit:
    """One writer for the collections named in `order`. Use within one event loop."""

    name = "group-commit"

    def __init__(
        self,
        database: Database,
        *,
        order: Sequence[str],
        listener: Listener | None = None,
        max_changes: int = MAX_CHANGES,
        max_bytes: int = MAX_BYTES,
        drain_seconds: float = 10.0,
        writer: BulkWriter | None = None,
        pace_seconds: float = 0.0,
    ) -> None:
        self._writer = writer or BulkWriter(database)
        self._place = {collection: place for place, collection in enumerate(order)}
        self._listener = listener
        self._max_changes = max_changes
        self._max_bytes = max_bytes
        self._drain_seconds = drain_seconds
        self._pace = Pace(pace_seconds)
        self._waiting: OrderedDict[str, _Waiting] = OrderedDict()
        self._failed: OrderedDict[str, None] = OrderedDict()
        self._writing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Nothing to do: the writer runs while there is something to write."""

    async def stop(self) -> None:
        """Write what was submitted, for at most `drain_seconds`; whoever still waits then gets StorageUnavailable."""
        if self._writing is not None:
            await asyncio.wait([self._writing], timeout=self._drain_seconds)
            await end_tasks(self._writing)

    async def submit(self, change: Change) -> None:
        """Returns once a majority has it. Raises LostGuard or InvalidChange.

        A caller that is cancelled takes nothing back: the change is written all the same.
        """
        await asyncio.shield(self.submit_nowait(change))

    def submit_nowait(self, change: Change) -> "asyncio.Future[None]":
        """Put the change into the queue. Raises InvalidChange at once; the future raises LostGuard or InvalidChange."""
        if change.collection not in self._place:
            raise InvalidChange(f"no group writes to '{change.collection}'", change=change.id)
        earlier = self._waiting.get(change.absorbs) if change.absorbs else None
        whole = absorb(earlier.change, change) if earlier is not None else change
        encoded = self._encode(whole, change)
        done = asyncio.get_running_loop().create_future()
        done.add_done_callback(_retrieve)
        entry = _Waiting(whole, encoded, done)
        if earlier is not None:
            del self._waiting[earlier.change.id]
            entry.absorbed = [*earlier.absorbed, earlier]
        self._waiting[change.id] = entry
        self._pace.gathered(len(self._waiting))
        if self._listener is not None:
            self._listener.submitted(whole)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_all(), name=self.name)
        return done

    def _encode(self, whole: Change, change: Change) -> Encoded:
        try:
            return encode(whole, max_bytes=self._max_bytes)
        except InvalidChange:
            if self._listener is not None:
                self._listener.refused(change)
            raise

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                await self._pace.wait(len(self._waiting))
                group = self._gather()
                self._pace.begin(len(group))
                await self._write(group)
        finally:
            for entry in self._waiting.values():
                _fail(
                    entry, StorageUnavailable("stopped before the change was known to be durable")
                )
            self._waiting.clear()

    async def _write(self, group: list[_Waiting]) -> None:
        """All of `group`, collection by collection in `order`."""
        group.sort(key=lambda entry: self._place[entry.change.collection])
        try:
            for collection, entries in groupby(group, key=lambda entry: entry.change.collection):
                await self._write_collection(collection, list(entries))
        except BaseException:
            for entry in group:
                _fail(
                    entry, StorageUnavailable("stopped before the change was known to be durable")
                )
            raise

    async def _write_collection(self, collection: str, entries: list[_Waiting]) -> None:
        ready = []
        for entry in entries:
            if any(need in self._failed for need in entry.change.needs):
                self._settle(
                    entry, LostGuard("a change that it needs failed", change=entry.change.id)
                )
            else:
                ready.append(entry)
        if not ready:
            return
        GROUP_SIZE.record(len(ready))
        with GROUP_SECONDS.timed():
            verdicts = await self._writer.write(
                collection, [(entry.change, entry.encoded) for entry in ready]
            )
        durable = [entry for entry in ready if verdicts[entry.change.id] is Verdict.DURABLE]
        if self._listener is not None and durable:
            self._listener.committed([entry.change for entry in durable])
        for entry in ready:
            self._settle(entry, _ERRORS[verdicts[entry.change.id]](entry.change))

    def _settle(self, entry: _Waiting, error: Exception | None) -> None:
        """Tell everybody who waits for the change what became of it."""
        if error is None:
            for one in (entry, *entry.absorbed):
                if not one.done.done():
                    one.done.set_result(None)
            return
        for one in (entry, *entry.absorbed):
            self._failed[one.change.id] = None
        while len(self._failed) > REMEMBERED_FAILURES:
            self._failed.popitem(last=False)
        if self._listener is not None:
            self._listener.refused(entry.change)
        _fail(entry, error)

    def _gather(self) -> list[_Waiting]:
        """The next group, in order of submission; a document's second change waits for the group after."""
        group: list[_Waiting] = []
        taken: set[tuple[str, Any]] = set()
        places: dict[str, int] = {}
        size = 0
        for entry in self._waiting.values():
            change = entry.change
            document = (change.collection, change.document_id)
            if document in taken:
                continue
            taken.add(document)
            if not self._may_go(change, places):
                continue
            size += entry.encoded.size
            if group and (size > self._max_bytes or len(group) >= self._max_changes):
                break
            group.append(entry)
            places[change.id] = self._place[change.collection]
        if not group:  # changes that need each other would wait for ever
            first = next(iter(self._waiting.values()))
            self._settle(first, InvalidChange("it needs a later change", change=first.change.id))
            group, places = [], {first.change.id: 0}
        for change_id in places:
            del self._waiting[change_id]
        return group

    def _may_go(self, change: Change, places: Mapping[str, int]) -> bool:
        """A change that needs another goes when that one is decided, or goes before it in the same group."""
        place = self._place[change.collection]
        return all(
            need not in self._waiting or places.get(need, place) < place for need in change.needs
        )


def _nothing(_: Change) -> None:
    return None


def _lost(change: Change) -> Exception:
    return LostGuard(change=change.id)


def _refused(change: Change) -> Exception:
    return InvalidChange("the database refused the change", change=change.id)


_ERRORS = {Verdict.DURABLE: _nothing, Verdict.LOST: _lost, Verdict.REFUSED: _refused}


def _fail(entry: _Waiting, error: Exception) -> None:
    for one in (entry, *entry.absorbed):
        if not one.done.done():
            one.done.set_exception(error)


def _retrieve(done: "asyncio.Future[None]") -> None:
    """Nobody has to wait for a change; an outcome that nobody reads is no accident."""
    if not done.cancelled():
        done.exception()
