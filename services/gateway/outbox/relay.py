"""Publishes what the fast path left behind: after a crash, while Kafka was away, after too much at once.

Replicas share the work by claiming requests for a while; a claim that is lost costs at most a second publication, which
consumers do not notice. A request that Kafka refuses for good is marked and the relay goes on.
"""

from collections.abc import Callable
from datetime import timedelta

import structlog

from services.gateway.outbox.publication import publish
from services.gateway.ports import AcceptedEvents, MessageSender
from services.gateway.settings import GatewayGroup
from shared import crash
from shared.clock import Clock

log = structlog.get_logger(__name__)


class Relay:
    """One turn publishes one batch, oldest first."""

    def __init__(
        self,
        accepted: AcceptedEvents,
        sender: MessageSender,
        settings: GatewayGroup,
        *,
        owner: str,
        held: Callable[[], set[str]],
        clock: Clock,
    ) -> None:
        self._accepted = accepted
        self._sender = sender
        self._owner = owner
        self._held = held
        self._clock = clock
        self._grace = timedelta(seconds=settings.relay_grace_seconds)
        self._claim = timedelta(seconds=settings.relay_claim_seconds)
        self._batch = settings.relay_batch

    async def turn(self) -> bool:
        """True when there may be more to publish right now."""
        now = self._clock.now()
        held = self._held()  # before the claim is read: what is marked meanwhile was held then
        claimed = await self._accepted.claim_pending(
            self._owner,
            accepted_before=now - self._grace,
            now=now,
            until=now + self._claim,
            limit=self._batch,
        )
        records = [record for record in claimed if record.id not in held]
        if not records:
            return False
        crash.point("relay.claimed")
        settled = await publish(self._sender, records)
        crash.point("relay.published")
        if settled:
            await self._accepted.mark(settled, self._clock.now())
        crash.point("relay.marked")
        log.info("relay.published", count=len(settled), left=len(records) - len(settled))
        return len(settled) == len(records) == self._batch
