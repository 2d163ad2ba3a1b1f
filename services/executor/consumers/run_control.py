"""`run-control` → cancel marks. Read in a group by all executors together, so that each request is applied once."""

from collections.abc import Awaitable, Callable

from services.executor.intake import Intake
from shared.events.run import RunControl
from shared.kafka.delivery import DeadLetters, decode_batch
from shared.kafka.records import Record


def build(intake: Intake, dead_letters: DeadLetters) -> Callable[[list[Record]], Awaitable[None]]:
    async def handle(records: list[Record]) -> None:
        for _, request in await decode_batch(records, RunControl, dead_letters):
            await intake.control(request)

    return handle
