"""What the proxy's use cases need from the world."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from services.proxy.models import (
    PassedAnswer,
    PassedRequest,
    Session,
    Turn,
    UpstreamAnswer,
    UpstreamRequest,
)
from shared.events.base import Event
from shared.events.proxy import ProxyEvent


class Upstream(Protocol):
    """Virtuoso. The only part that knows its address and credential."""

    async def send(self, request: UpstreamRequest) -> UpstreamAnswer:
        """Make one call. Raises an error of `errors.py`, RateLimited, UpstreamTimeout or UpstreamUnavailable."""
        ...

    async def forward(self, request: PassedRequest) -> PassedAnswer:
        """Hand a request on and its answer back, whatever its status. Raises like `send` where there is none."""
        ...


class Sessions(Protocol):
    """Sessions that are alive: an ended or idle one is not found. Every call is inside one tenant."""

    async def add(
        self, *, tenant: str, context: Mapping[str, int], metadata: Mapping[str, Any]
    ) -> Session: ...

    async def get(self, id: str, *, tenant: str) -> Session:
        """Raises NotFound."""
        ...

    async def list(self, *, tenant: str, limit: int, after: str | None) -> Sequence[Session]:
        """Newest first; `after` is the last id of the page before."""
        ...

    async def change(self, id: str, *, tenant: str, context: Mapping[str, int | None]) -> Session:
        """Set parts of the context and put the position back to the first. A turn that is under way keeps its call but
        no longer moves the position. Raises NotFound.
        """
        ...

    async def end(self, id: str, *, tenant: str) -> None:
        """Raises NotFound."""
        ...

    async def take_turn(self, id: str, *, tenant: str) -> Turn | None:
        """The turn, or None while somebody else has it. Raises NotFound."""
        ...

    async def end_turn(self, turn: Turn, *, advance: bool, event: ProxyEvent | None = None) -> None:
        """Give the turn back and store its event; `advance` moves the position on, in the same write."""
        ...

    async def note(self, id: str, *, tenant: str, event: ProxyEvent) -> None:
        """Store the event of a command that did not use the position."""
        ...

    async def unpublished(
        self, ids: Sequence[str] | None, *, limit: int, older_than: float = 0
    ) -> Mapping[str, Sequence[ProxyEvent]]:
        """Stored events by session, in order: of these sessions, or (None) of sessions of any tenant whose events have
        waited for `older_than` seconds.
        """
        ...

    async def published(self, events: Mapping[str, Sequence[str]]) -> None:
        """These events (ids by session) are on Kafka: take them out."""
        ...


class Events(Protocol):
    """Puts a batch of events on Kafka, in order; the answer says for each what went wrong, if anything."""

    async def publish_many(self, events: Sequence[Event]) -> list[Exception | None]: ...


class Outbox(Protocol):
    """Brings events to Kafka in the background."""

    def wake(self, session_id: str) -> None:
        """This session holds a new event."""
        ...

    def put(self, event: ProxyEvent) -> None:
        """An event that no session holds: it is lost when the process dies before Kafka has it."""
        ...
