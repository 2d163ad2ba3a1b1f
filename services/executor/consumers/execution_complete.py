"""`execution-complete` → wakes: something that a step of ours may wait for has ended elsewhere.

The wake key is the step's own (`virtuoso/<customer>/<execution>`, `seven_ps/<job>`). Nobody may be waiting, or not yet:
a wake is kept for whoever comes.
"""

from collections.abc import Awaitable, Callable

from shared.events.execution import ExecutionComplete
from shared.kafka.delivery import DeadLetters, decode_batch
from shared.kafka.records import Record
from shared.work.ports import Wakes

OURS = "cadenza/executor"
"""`ce_source` of the ends of our own runs, which are most of what comes; they are not even decoded."""


def build(wakes: Wakes, dead_letters: DeadLetters) -> Callable[[list[Record]], Awaitable[None]]:
    async def handle(records: list[Record]) -> None:
        others = [record for record in records if record.header("ce_source") != OURS]
        for _, event in await decode_batch(others, ExecutionComplete, dead_letters):
            if (key := wake_key(event)) is not None:
                payload = {"status": event.status, "event_id": event.id}
                await wakes.wake(key, tenant=event.tenant, payload=payload, id=event.id)

    return handle


def wake_key(event: ExecutionComplete) -> str | None:
    """What a step that waits for this has suspended itself under; None: no step waits for such a thing."""
    match event.source:
        case "virtuoso":
            return f"virtuoso/{event.customer_id}/{event.execution_id}"
        case "seven_ps":
            return f"seven_ps/{event.execution_id}"
    return None
