"""`run-requested` → queued runs. A whole batch is durable before its offsets move on."""

from collections.abc import Awaitable, Callable

from services.executor.intake import Intake, Request
from shared.events.run import RunRequested
from shared.kafka.delivery import DeadLetters, decode_batch
from shared.kafka.records import Record
from shared.work.ports import Added


def build(
    intake: Intake, dead_letters: DeadLetters, *, free: Callable[[], int], wake: Callable[[], None]
) -> Callable[[list[Record]], Awaitable[None]]:
    """`free` tells how many runs could start at once; `wake` makes the work loop look."""

    async def handle(records: list[Record]) -> None:
        readable = await decode_batch(records, RunRequested, dead_letters)
        # Partitions come one after the other; whoever was accepted first has the first turn.
        readable.sort(key=lambda pair: pair[1].occurred_at)
        requests = [Request(event, record.header("traceparent")) for record, event in readable]
        results = await intake.queue(requests, start=free())
        wake()
        for (record, _), result in zip(readable, results, strict=True):
            if result is Added.CONFLICT:
                await dead_letters.put(record, reason="id_conflict", detail="", attempts=1)

    return handle
