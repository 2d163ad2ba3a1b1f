"""The one way in: make a request durable, then publish it in the background.

When `accept` returns, a majority of the database holds the request. It will reach Kafka: at once by this process, or
later by a relay. An `Idempotency-Key` makes two equal requests one; the database's unique index decides races.
"""

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from services.gateway.errors import KeyReused
from services.gateway.models import Accepted
from services.gateway.ports import AcceptedEvents, Outbox
from shared import crash
from shared.clock import Clock
from shared.errors import FieldError, InvalidRequest, Overloaded
from shared.events.base import Event
from shared.observability.instruments import REQUESTS_ACCEPTED
from shared.ports import Audit

MAX_KEY_LENGTH = 255
_ROUNDS = 20  # a key that is freed and taken again this often while we look belongs to nobody


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: the event that it becomes, and who asked for it."""

    event: Event
    subject: str
    content_hash: str
    actor: str
    action: str
    accepted_at: datetime
    idempotency_key: str | None = None
    details: Mapping[str, Any] | None = None
    """Beside what the event says, for the audit."""


class Intake:
    """Accepts requests."""

    def __init__(
        self,
        accepted: AcceptedEvents,
        outbox: Outbox,
        audit: Audit,
        *,
        clock: Clock,
        key_lifetime: timedelta,
        trace: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self._accepted = accepted
        self._outbox = outbox
        self._audit = audit
        self._clock = clock
        self._key_lifetime = key_lifetime
        self._trace = trace

    async def accept(self, asked: Asked) -> Accepted:
        """The request as it is stored: an earlier equal one when the idempotency key says so. Raises KeyReused."""
        _check_key(asked.idempotency_key)
        record = self._record(asked)
        for round_number in range(_ROUNDS):
            if await self._accepted.add(record):
                crash.point("gateway.accepted")
                REQUESTS_ACCEPTED.add(1, record.topic)
                self._outbox.offer(record)
                await self._note(asked, record)
                return record
            if earlier := await self._earlier(record):
                await self._note(asked, earlier)  # whoever asked first may have got no answer
                return earlier
            await asyncio.sleep(0.005 * round_number)
        raise Overloaded("this Idempotency-Key is in use at this very moment", retry_after=1.0)

    async def knows(self, tenant: str, key: str | None) -> bool:
        """Whether an earlier request holds this idempotency key."""
        return bool(key) and await self._accepted.by_key(tenant, key or "") is not None

    async def _note(self, asked: Asked, record: Accepted) -> None:
        await self._audit.record(
            tenant=record.tenant,
            actor=asked.actor,
            action=asked.action,
            target=record.subject,
            details=asked.details,
            id=record.id,
        )

    async def free_keys(self) -> bool:
        """Forget idempotency keys that have expired; a turn of a loop."""
        await self._accepted.release_keys(self._clock.now())
        return False

    async def _earlier(self, record: Accepted) -> Accepted | None:
        """Who holds the key; None when it has just become free."""
        earlier = await self._accepted.by_key(record.tenant, record.idempotency_key or "")
        if earlier is None:
            return None
        if earlier.key_expires_at is not None and earlier.key_expires_at <= self._clock.now():
            await self._accepted.release_key(earlier.id)
            return None
        if (earlier.topic, earlier.content_hash) != (record.topic, record.content_hash):
            raise KeyReused(f"the Idempotency-Key belongs to another request ({earlier.subject})")
        return earlier

    def _record(self, asked: Asked) -> Accepted:
        event = asked.event
        key = asked.idempotency_key
        return Accepted(
            id=event.id,
            tenant=event.tenant,
            topic=event.topic,
            key=event.key(),
            subject=asked.subject,
            content_hash=asked.content_hash,
            accepted_at=asked.accepted_at,
            body=event.body(),
            headers=event.cloudevents_headers() | dict(self._trace()),
            idempotency_key=key,
            key_expires_at=asked.accepted_at + self._key_lifetime if key else None,
        )


def content_hash(tenant: str, body: Any) -> str:
    """SHA-256 (hex) of the tenant and the caller's canonical body: key order and white space do not matter. Raises
    InvalidRequest for a body that can be read only just, and not be written.
    """
    try:
        canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    except RecursionError:
        message = "the body is nested too deeply"
        raise InvalidRequest(message, errors=[FieldError("body", "depth", message)]) from None
    return hashlib.sha256(f"{tenant}\n{canonical}".encode(errors="surrogatepass")).hexdigest()


def _check_key(key: str | None) -> None:
    if key is None or (0 < len(key) <= MAX_KEY_LENGTH and key.isprintable()):
        return
    message = f"must have 1 to {MAX_KEY_LENGTH} printable characters"
    raise InvalidRequest(
        f"Idempotency-Key {message}", errors=[FieldError("Idempotency-Key", "length", message)]
    )
