"""`run-control`, read by every executor without a group, so that the owner of a run reacts within a second.

The group's consumer writes the same mark; whichever is first, the other changes nothing.
"""

import asyncio
from collections.abc import Callable

import structlog

from services.executor.intake import Intake
from services.executor.service import Executor
from shared.errors import InvalidMessage, TransientError
from shared.events.run import RunControl
from shared.kafka.delivery import decode
from shared.kafka.records import Record

log = structlog.get_logger()


def build(executor: Executor, intake: Intake) -> Callable[[Record], None]:
    acting: set[asyncio.Task[None]] = set()

    def hear(record: Record) -> None:
        key = (record.key or b"").decode(errors="replace")
        if not executor.is_running(key) and not executor.below(key):
            return
        try:
            request = decode(record, RunControl)
        except InvalidMessage:
            return  # the group's consumer puts it on the dead-letter topic
        if request.action != "cancel":
            return  # there is no hurry
        task = asyncio.create_task(_act(executor, intake, request))
        acting.add(task)
        task.add_done_callback(acting.discard)

    return hear


async def _act(executor: Executor, intake: Intake, request: RunControl) -> None:
    try:
        outcome = await intake.control(request)
    except TransientError as error:
        log.warning("run.cancel_deferred", execution_id=request.execution_id, error=error.message)
        return  # the group's consumer goes on trying; the next renewal sees its mark
    mark = {"by": request.requested_by, "reason": request.reason}
    if outcome == "marked":
        executor.cancel(request.execution_id, mark)
    if request.action == "cancel":
        for child in executor.below(request.execution_id):
            executor.cancel(child, mark)
