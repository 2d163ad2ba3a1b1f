"""Ending tasks so that they have ended."""

import asyncio
from typing import Any

# Longer than an orderly end takes. A cancellation can get lost: in `asyncio.wait_for` when what was waited for happened
# at the same moment (CPython issue 86296, mended in 3.12), and in drivers that catch it.
AGAIN_SECONDS = 5.0


async def end_tasks(*tasks: "asyncio.Future[Any] | None") -> None:
    """Cancel, and wait until all have ended, with whatever; one that lives on is cancelled again. None has ended."""
    living = {task for task in tasks if task is not None}
    ending = living
    while living:
        for task in living:
            task.cancel()
        _, living = await asyncio.wait(living, timeout=AGAIN_SECONDS)
    for task in ending:
        if not task.cancelled():
            task.exception()  # taken note of: whoever cares has seen it by now
