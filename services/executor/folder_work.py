"""Makes and removes the folders of runs beside the event loop.

A busy disk keeps `mkdir` and `rmdir` waiting, which the loop cannot afford, and a thread for each would cost more than
the work: so one thread at a time does all that has come together meanwhile, in the order in which it came.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class _Job:
    work: Callable[[], Any]
    done: "asyncio.Future[Any]"
    result: Any = None
    error: OSError | None = None


@dataclass(slots=True)
class FolderWork:
    """Does what is quick on a disk that is not busy. Bound to the event loop of its first caller."""

    _waiting: list[_Job] = field(default_factory=list)
    _going: "asyncio.Task[None] | None" = None

    async def do(self, work: Callable[[], T]) -> T:
        """The result of `work`, or the OSError that it raised. It is done also when its caller is cancelled."""
        job = _Job(work, asyncio.get_running_loop().create_future())
        self._waiting.append(job)
        if self._going is None or self._going.done():
            self._going = asyncio.create_task(self._go(), name="folder-work")
        result: T = await job.done
        return result

    async def _go(self) -> None:
        while self._waiting:
            jobs, self._waiting = self._waiting, []
            await asyncio.to_thread(_do, jobs)
            for job in jobs:
                if job.done.done():
                    continue
                if job.error is not None:
                    job.done.set_exception(job.error)
                else:
                    job.done.set_result(job.result)


def _do(jobs: Sequence[_Job]) -> None:
    for job in jobs:
        try:
            job.result = job.work()
        except OSError as error:
            job.error = error
