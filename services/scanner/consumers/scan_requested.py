"""`scan-requested` → queued scans. A whole batch is durable before its offsets move on."""

from collections.abc import Awaitable, Callable

from services.scanner.events import new_scan
from shared.events.scan import ScanRequested
from shared.kafka.delivery import DeadLetters, decode_batch
from shared.kafka.records import Record
from shared.work.ports import Added, Work


def build(
    work: Work, dead_letters: DeadLetters, *, wake: Callable[[], None]
) -> Callable[[list[Record]], Awaitable[None]]:
    """`wake` makes the work loop look."""

    async def handle(records: list[Record]) -> None:
        readable = await decode_batch(records, ScanRequested, dead_letters)
        scans = [
            new_scan(event, traceparent=record.header("traceparent")) for record, event in readable
        ]
        results = await work.add(scans)
        wake()
        for (record, _), result in zip(readable, results, strict=True):
            if result is Added.CONFLICT:
                await dead_letters.put(record, reason="id_conflict", detail="", attempts=1)

    return handle
