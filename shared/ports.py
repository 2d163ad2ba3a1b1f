"""Protocols that every service needs; the adapters live in `shared/kafka`, `shared/mongo` and `shared/objects`."""

from collections.abc import Mapping
from typing import Any, Protocol

from shared.events.base import Event


class EventPublisher(Protocol):
    """Puts events on Kafka; returns once the broker has acknowledged, raises BrokerUnavailable otherwise."""

    async def publish(self, event: Event) -> None: ...


class Addressed(Protocol):
    """Bytes on their way to a topic."""

    @property
    def topic(self) -> str: ...

    @property
    def key(self) -> str: ...

    @property
    def body(self) -> bytes: ...

    @property
    def headers(self) -> Mapping[str, str]: ...


class Audit(Protocol):
    """Every mutating use case says here who did what to which thing."""

    async def record(
        self,
        *,
        tenant: str,
        actor: str,
        action: str,
        target: str,
        details: Mapping[str, Any] | None = None,
        id: str | None = None,
    ) -> None:
        """With an `id` it is the same entry however often it is recorded."""
        ...


class Resource(Protocol):
    """A part with a life: `shared.runtime` starts parts in order and stops them in reverse.

    `start` returns once the part can be used; it must not wait for a system outside this process without end.
    `stop` is called once, also after a failed start, and leaves nothing running.
    """

    name: str

    async def start(self) -> None: ...

    async def stop(self) -> None: ...
