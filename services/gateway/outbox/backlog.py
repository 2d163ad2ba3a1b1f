"""How much is accepted and not on Kafka yet: asked of the database when metrics are read, for all gateways together."""

from services.gateway.ports import AcceptedEvents
from shared.clock import Clock, milliseconds_between
from shared.observability.instruments import OUTBOX_OLDEST, OUTBOX_PENDING
from shared.observability.metrics import REGISTRY


class Backlog:
    """A resource that answers while it is started."""

    name = "outbox-backlog"

    def __init__(self, accepted: AcceptedEvents, *, clock: Clock) -> None:
        self._accepted = accepted
        self._clock = clock

    async def start(self) -> None:
        REGISTRY.collect_with(self.name, self._tell)

    async def stop(self) -> None:
        REGISTRY.collect_with(self.name, None)

    async def _tell(self) -> None:
        count, oldest = await self._accepted.backlog()
        OUTBOX_PENDING.set(count)
        age = milliseconds_between(oldest, self._clock.now()) if oldest is not None else 0
        OUTBOX_OLDEST.set(age / 1000)
