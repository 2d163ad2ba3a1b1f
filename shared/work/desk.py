"""What the parts of the queue share: where it lies, who we are, what we hold."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pymongo.asynchronous.collection import AsyncCollection

from shared.mongo.client import Database, Document
from shared.mongo.group_commit import GroupCommit
from shared.mongo.outbox import Outbox
from shared.mongo.streams import Outgoing
from shared.work.descriptor import Queue
from shared.work.events import Sequencer, from_document
from shared.work.labels import Abilities
from shared.work.ports import Claim
from shared.work.server_clock import ServerClock

REMEMBERED = 20_000


@dataclass(frozen=True, slots=True)
class Held:
    """An item of ours and the numbers of its events."""

    claim: Claim
    sequencer: Sequencer


@dataclass(slots=True)
class Desk:
    """One worker process at one queue."""

    database: Database
    queue: Queue
    owner: str
    outbox: Outbox
    commit: GroupCommit
    clock: ServerClock
    held: dict[str, Held] = field(default_factory=dict)
    started: deque[Claim] = field(default_factory=deque)
    """Claims that came with their insertion and wait to be picked up."""
    starting: int = 0
    """Slots for items that are being inserted as started: they will lie in `started`."""
    taking: int = 0
    """Slots for items that are being claimed, or were and have not been handed out."""
    claiming: set[str] = field(default_factory=set)
    """Tokens whose items may be ours in the database and are not yet in `held`."""
    announced: dict[str, None] = field(default_factory=dict)
    """Items that this process added lately: their first event is on its way already."""

    abilities: Abilities = field(default_factory=Abilities)
    """What this worker may take."""
    ready: Callable[[], None] = lambda: None
    """Told when something that was blocked may be claimed."""

    paused: bool = False
    """Nothing new is claimed; what was inserted as started is still handed out."""
    ending: set[str] = field(default_factory=set)
    """Items whose last change is on its way: what the database says of them may be older or newer than `held`."""

    @property
    def items(self) -> AsyncCollection[Document]:
        return self.database[self.queue.collection]

    def hold(self, document: Mapping[str, Any]) -> Claim:
        """Take note of an item that carries our token."""
        claim = Claim(
            id=document["_id"],
            tenant=document["tenant"],
            epoch=document["epoch"],
            token=document["lease"]["token"],
            sequence=document["sequence"],
            document=document,
        )
        sequencer = Sequencer(
            claim.sequence, expect=lambda sequence: self.outbox.expect(claim.id, sequence)
        )
        self.held[claim.id] = Held(claim, sequencer)
        return claim

    def let_go(self, claim: Claim) -> None:
        """We hold the item no more; a later claim of ours is untouched."""
        held = self.held.get(claim.id)
        if held is not None and held.claim.token == claim.token:
            del self.held[claim.id]

    def remember_announced(self, id_: str) -> None:
        self.announced[id_] = None
        if len(self.announced) > REMEMBERED:
            del self.announced[next(iter(self.announced))]

    def publish(self, documents: Iterable[Mapping[str, Any]], *, after: int = 0) -> None:
        """Publish the events above `after` that lie in `documents`, which are durable."""
        self.outbox.durable(
            Outgoing(
                document["_id"],
                self.queue.collection,
                document["_id"],
                document,
                from_document(stored),
            )
            for document in documents
            for stored in document["events"]
            if stored["sequence"] > after
        )
