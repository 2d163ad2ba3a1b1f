"""Publishing requests that are durable, and what comes of each.

A refusal for good (too large) is noted on the request; everything else leaves it pending, and somebody tries again.
`BrokerUnavailable` may mean that the message is on the topic after all: consumers know its id.
"""

import asyncio
from collections.abc import Sequence

import structlog

from services.gateway.models import Accepted, Publication
from services.gateway.ports import MessageSender
from shared.errors import PermanentError
from shared.observability.instruments import EVENTS_FAILED, EVENTS_PUBLISHED, REQUESTS_REJECTED

log = structlog.get_logger(__name__)


async def publish(sender: MessageSender, records: Sequence[Accepted]) -> list[Publication]:
    """Send in the order given; returns what was placed or refused, and leaves out what must be tried again."""
    results = await asyncio.gather(
        *(_send(sender, record) for record in records), return_exceptions=True
    )
    settled = []
    for record, result in zip(records, results, strict=True):
        match result:
            case (partition, offset):
                EVENTS_PUBLISHED.add(1, record.topic)
                settled.append(Publication(record.id, partition=partition, offset=offset))
            case PermanentError():
                log.error("accepted.refused", id=record.id, topic=record.topic, code=result.code)
                REQUESTS_REJECTED.add()
                settled.append(Publication(record.id, rejected=result.message))
            case _:
                EVENTS_FAILED.add(1, record.topic)
                log.warning("accepted.not_published", id=record.id, error=repr(result))
    return settled


async def _send(sender: MessageSender, record: Accepted) -> tuple[int, int]:
    return await sender.send_raw(
        record.topic, record.key.encode(), record.body, dict(record.headers)
    )
