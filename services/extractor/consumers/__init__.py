"""Topics in: each file turns one kind of event into requests; `build_handler` hands batches of them to the intake.

An event that cannot be read, or that names no customer or no numeric execution, becomes a dead letter by itself; the
others of its batch go on.
"""

from collections.abc import Awaitable, Callable, Sequence

from services.extractor.consumers import execution_complete, extraction_requested
from services.extractor.models import Request
from services.extractor.service import Intake
from shared.errors import InvalidMessage
from shared.kafka.delivery import DeadLetters
from shared.kafka.records import Record

READERS: dict[str, Callable[[Record], Request | None]] = {
    execution_complete.TOPIC: execution_complete.request_in,
    extraction_requested.TOPIC: extraction_requested.request_in,
}
"""Topic → the request in a record; None when the record is not for us."""


def build_handler(
    intake: Intake, dead_letters: DeadLetters
) -> Callable[[list[Record]], Awaitable[None]]:
    """What a batch consumer calls."""

    async def handle(records: Sequence[Record]) -> None:
        requests: list[Request] = []
        for record in records:
            try:
                request = READERS[record.topic](record)
            except InvalidMessage as error:
                await dead_letters.put(record, reason=error.code, detail=error.message, attempts=1)
                continue
            if request is not None:
                requests.append(request)
        if requests:
            await intake.accept(requests)

    return handle
