"""The life of a process: start parts in order, serve until SIGTERM or SIGINT, stop them in reverse.

Promises: readiness is off before anything is stopped; the whole stop takes about `drain_seconds`, and a part that does
not stop in time is named in a warning; a failed start stops what was started and says why in one sentence. Exit codes:
0 ended by a signal, 1 failed, 2 a setting is wrong.

`Health` is what the process knows of itself. Loops report each turn (`beat`), dependencies are asked (`add_check`),
parts report trouble (`report`); `ready` folds it all.
"""

import asyncio
import gc
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import structlog

from shared.errors import CadenzaError, ConfigurationError
from shared.ports import Resource
from shared.settings import RuntimeSettings

OK = "ok"
CHECK_TIMEOUT = 1.0  # a probe that waits longer is as good as failed
CHECK_TTL = 1.0  # probes may come from several sides; dependencies are asked once a second at most
LAST_CHANCE = 0.5  # what a part still gets when the drain budget is used up

log = structlog.get_logger(__name__)


class Health:
    """What is well and what is not, by name."""

    def __init__(
        self,
        settings: RuntimeSettings | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.draining = False
        self.starting = False
        self._stall_seconds = (settings or RuntimeSettings()).stall_seconds
        self._monotonic = monotonic
        self._beats: dict[str, float] = {}
        self._reports: dict[str, str] = {}
        self._checks: dict[str, Callable[[], Awaitable[bool]]] = {}
        self._checked: dict[str, str] = {}
        self._checked_until = float("-inf")
        self._checking = asyncio.Lock()

    def watch(self, loop: str) -> None:
        """From now on `loop` must beat every `stall_seconds`."""
        self._beats[loop] = self._monotonic()

    def beat(self, loop: str) -> None:
        """`loop` has made a turn."""
        self._beats[loop] = self._monotonic()

    def unwatch(self, loop: str) -> None:
        """`loop` has ended as it should."""
        self._beats.pop(loop, None)

    def report(self, name: str, problem: str | None) -> None:
        """A part says what troubles it; None when it is well again."""
        if problem is None:
            self._reports.pop(name, None)
        else:
            self._reports[name] = problem

    def add_check(self, name: str, check: Callable[[], Awaitable[bool]]) -> None:
        """Ask `check` whether a dependency is there, at most once a second and for a second at most."""
        self._checks[name] = check

    async def ready(self) -> dict[str, str]:
        """Name → "ok" or the reason; ready when all are "ok"."""
        return {
            "process": self._phase(),
            **{loop: self._pulse(at) for loop, at in self._beats.items()},
            **await self._ask(),
            **self._reports,
        }

    def _phase(self) -> str:
        if self.draining:
            return "draining"
        return "starting" if self.starting else OK

    def _pulse(self, at: float) -> str:
        silent = self._monotonic() - at
        return OK if silent <= self._stall_seconds else f"no turn for {silent:.0f} s"

    async def _ask(self) -> dict[str, str]:
        async with self._checking:
            if self._monotonic() >= self._checked_until:
                names = list(self._checks)
                answers = await asyncio.gather(*(_answer(self._checks[name]) for name in names))
                self._checked = dict(zip(names, answers, strict=True))
                self._checked_until = self._monotonic() + CHECK_TTL
            return self._checked


async def _answer(check: Callable[[], Awaitable[bool]]) -> str:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT):
            return OK if await check() else "not available"
    except TimeoutError:
        return f"no answer within {CHECK_TIMEOUT:.0f} s"
    except Exception as error:  # noqa: BLE001 - whatever it is, the dependency cannot be used
        return f"{type(error).__name__}: {error}"


async def serve(resources: Sequence[Resource], *, health: Health, settings: RuntimeSettings) -> int:
    """Start `resources` in order, wait for SIGTERM or SIGINT, stop them in reverse. Returns the exit code."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    health.starting = True
    touched: list[Resource] = []
    try:
        code = await _start(resources, touched, ended)
        health.starting = False
        if code is None:
            log.info("runtime.started", parts=[part.name for part in touched])
            _spare_the_collector()
            await ended.wait()
            code = 0
    finally:
        health.draining = True
        await _stop(touched, budget=settings.drain_seconds)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    log.info("runtime.stopped", exit_code=code)
    return code


def _spare_the_collector() -> None:
    """What a started process is made of stays: the collector need not look at it again. Nearly all that a request or
    a run leaves behind goes by reference count, so the collector may also come less often.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


async def _start(
    resources: Sequence[Resource], touched: list[Resource], ended: asyncio.Event
) -> int | None:
    """The exit code when the process must end already; None when everything runs."""
    signalled = asyncio.ensure_future(ended.wait())
    try:
        for resource in resources:
            touched.append(resource)
            starting = asyncio.ensure_future(resource.start())
            await asyncio.wait((starting, signalled), return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                starting.cancel()
                await asyncio.wait((starting,))
                return 0
            if error := starting.exception():
                return _start_failed(resource.name, error)
            if signalled.done():
                return 0
    finally:
        signalled.cancel()
    return None


def _start_failed(part: str, error: BaseException) -> int:
    known = isinstance(error, CadenzaError | OSError)
    log.error("runtime.start_failed", part=part, exc_info=None if known else error)
    return explain(error, part=part)


def explain(error: BaseException, *, part: str = "") -> int:
    """Say in one sentence on stderr why the process ends; returns the exit code."""
    reason = str(error) or type(error).__name__
    sentence = f"{part} did not start: {reason}" if part else reason
    print(f"error: {sentence}", file=sys.stderr)  # noqa: T201 - for whoever started the process
    return 2 if isinstance(error, ConfigurationError) else 1


async def _stop(started: Sequence[Resource], *, budget: float) -> None:
    deadline = time.monotonic() + budget
    for resource in reversed(started):
        left = max(LAST_CHANCE, deadline - time.monotonic())
        try:
            async with asyncio.timeout(left):
                await resource.stop()
        except TimeoutError:
            log.warning("runtime.drain_timed_out", part=resource.name, budget_seconds=budget)
        except Exception:  # one part's failure must not keep the others running
            log.exception("runtime.stop_failed", part=resource.name)


def run(main: Callable[[], Coroutine[Any, Any, int]], *, uvloop: bool = False) -> int:
    """Run `main` in a new event loop and return its exit code; a wrong setting ends in a sentence and 2.

    Under `uvloop` a process is not to be started through the loop, which forks plainly (386 a second against 1,500).
    """
    try:
        with asyncio.Runner(loop_factory=_uvloop if uvloop else None) as runner:
            return runner.run(_without_leftovers(main()))
    except ConfigurationError as error:
        return explain(error)
    except KeyboardInterrupt:
        return 130


async def _without_leftovers(main: Coroutine[Any, Any, int]) -> int:
    """End what still runs. A task that will not be cancelled (it retries without end, say) must not hold the exit."""
    code = await main
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=LAST_CHANCE)
    left = [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    if left:
        log.warning("runtime.tasks_left", tasks=sorted(left))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def _uvloop() -> asyncio.AbstractEventLoop:
    import uvloop

    return uvloop.new_event_loop()
