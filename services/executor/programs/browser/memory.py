"""What the browser takes, with all of its processes.

A limit on address space breaks browsers, which reserve far more than they use. So their memory is looked at, each
process's share of what several have in common.
"""

import asyncio
import contextlib

import psutil

from services.executor.programs.browser.report import Ended

LOOK_SECONDS = 0.5
MIB = 1024 * 1024


async def watch(limit_mb: int) -> None:
    """Look until it is too much. Raises Ended."""
    me = psutil.Process()
    while True:
        used = await asyncio.to_thread(_used, me)
        if used > limit_mb * MIB:
            for process in me.children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    process.kill()
            raise Ended("oom", f"the browser took {used // MIB} MB; the limit is {limit_mb} MB")
        await asyncio.sleep(LOOK_SECONDS)


def _used(me: psutil.Process) -> int:
    total = 0
    for process in me.children(recursive=True):
        with contextlib.suppress(psutil.Error):
            total += process.memory_full_info().pss
    return total
