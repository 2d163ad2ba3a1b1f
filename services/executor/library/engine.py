"""The execution engine to embed in another program: commands and plans run in the background, state is kept in memory.

    async with ExecutionEngine() as engine:
        id = await engine.execute({"command": {"type": "shell", "command": "echo hello"}})
        result = await engine.wait(id)

Everything is checked before anything starts. `execute` and `execute_plan` return at once with the id; at most
`max_concurrent_executions` commands run at a time, plans included. A handler of events can never delay a run.
Use one engine in one event loop.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Self

from services.executor.commands.base import Command
from services.executor.commands.registry import build_registry
from services.executor.library.checks import check_request, plan_of, read
from services.executor.library.config import ExecutionConfig
from services.executor.library.dispatch import AnyEvent, Dispatcher, HandlerCounts, HandlerLike
from services.executor.library.errors import ExecutionNotFound, NotFinished, NotRunning
from services.executor.library.logs import LogFile
from services.executor.library.models import (
    FINAL,
    ExecutionPlan,
    ExecutionRequest,
    ExecutionResult,
    ExecutionStatus,
    ExecutionSummary,
    PlanExecutionResult,
)
from services.executor.library.running import CommandRun
from services.executor.library.running_plans import PlanRun
from services.executor.library.state import CommandEntry, Entry, PlanEntry, State
from services.executor.processes.runner import LocalProcessRunner
from shared.plans.plan import Plan
from shared.registry import Registry

CLOSE_SECONDS = 2.0


class ExecutionEngine:
    """Runs commands and plans; knows what became of them."""

    def __init__(
        self,
        config: ExecutionConfig | None = None,
        event_handler: HandlerLike | None = None,
        *,
        registry: Registry[Command[Any]] | None = None,
    ) -> None:
        self.config = config or ExecutionConfig.from_env()
        self._registry = registry or build_registry()
        self._state = State(self.config.history_limit)
        self._room = asyncio.Semaphore(self.config.max_concurrent_executions)
        self._processes = LocalProcessRunner(grace_seconds=self.config.grace_ms / 1000)
        self._dispatchers = [Dispatcher(event_handler)] if event_handler is not None else []
        self._tasks: set[asyncio.Task[None]] = set()

    def with_event_handler(self, handler: HandlerLike) -> Self:
        """Add a handler; each hears everything from here on."""
        self._dispatchers.append(Dispatcher(handler))
        return self

    @property
    def handler_counts(self) -> list[HandlerCounts]:
        """How often each handler raised, and what it was too slow for."""
        return [dispatcher.counts for dispatcher in self._dispatchers]

    async def execute(self, request: ExecutionRequest | Mapping[str, Any]) -> str:
        """Start a command in the background; its id. Raises a ValidationFailed or LogUnavailable."""
        asked = read(ExecutionRequest, request)
        self._state.refuse_known(asked.id, "id")
        check_request(asked, self._registry, self.config)
        entry = self._accept(asked)
        self._start(entry, self._run_of(entry).run())
        return entry.id

    async def execute_plan(self, plan: ExecutionPlan | Mapping[str, Any]) -> str:
        """Start a plan in the background; its id. Raises a ValidationFailed or LogUnavailable."""
        asked = read(ExecutionPlan, plan)
        ours = self._check_plan(asked)
        entry = PlanEntry(asked.id, plan=asked, commands=[self._accept(r) for r in asked.commands])
        self._state.add(entry)
        runs = [self._run_of(command) for command in entry.commands]
        self._start(entry, PlanRun(entry, ours, runs, send=self._send).run())
        return entry.id

    async def get_status(self, id: str) -> ExecutionStatus:
        """Of a command or a plan. Raises ExecutionNotFound."""
        return self._state.get(id).status

    async def get_result(self, id: str) -> ExecutionResult:
        """Raises NotFinished or ExecutionNotFound."""
        entry = self._command(id)
        if entry.result is None:
            raise NotFinished(f"execution {id} is {entry.status}; wait for it", id=id)
        return entry.result

    async def get_plan_result(self, id: str) -> PlanExecutionResult:
        """Raises NotFinished or ExecutionNotFound."""
        entry = self._state.get(id)
        if not isinstance(entry, PlanEntry):
            raise ExecutionNotFound(f"{id} is a command, not a plan: use get_result", id=id)
        if entry.result is None:
            raise NotFinished(f"plan {id} is {entry.status}; wait for it", id=id)
        return entry.result

    async def wait(
        self,
        id: str,
        timeout: float | None = None,  # noqa: ASYNC109 - as the API is named
    ) -> ExecutionResult | PlanExecutionResult:
        """The result once there is one. Raises TimeoutError after `timeout` seconds; the execution goes on."""
        entry = self._state.get(id)
        async with asyncio.timeout(timeout):
            await entry.ended.wait()
        if isinstance(entry, PlanEntry | CommandEntry) and entry.result is not None:
            return entry.result
        raise NotFinished(f"execution {id} ended without a result", id=id)

    async def cancel(self, id: str) -> None:
        """End a command or a whole plan; returns at once, `wait` tells when it is gone. Raises NotRunning."""
        entry = self._state.get(id)
        if entry.status in FINAL:
            raise NotRunning(f"execution {id} is {entry.status} already", id=id)
        entry.cancel.set()

    async def read_logs(self, id: str) -> str:
        """The log so far."""
        path = self._command(id).log.path
        return await asyncio.to_thread(path.read_text, encoding="utf-8")

    async def get_log_path(self, id: str) -> str:
        """Where the log lies; it outlives the engine."""
        return str(self._command(id).log.path)

    async def list_executions(
        self, *, status: ExecutionStatus | None = None, limit: int | None = None
    ) -> list[ExecutionSummary]:
        """Commands and plans, newest first."""
        entries = [e for e in self._state.newest_first() if status in {None, e.status}]
        return [entry.summary() for entry in entries[:limit]]

    async def close(self) -> None:
        """Cancel what runs, wait for it, let handlers finish. The engine can be used again afterwards."""
        for entry in self._state.newest_first():
            if entry.status not in FINAL:
                entry.cancel.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(d.close(CLOSE_SECONDS) for d in self._dispatchers))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _check_plan(self, plan: ExecutionPlan) -> Plan:
        self._state.refuse_known(plan.id, "id")
        seen = {plan.id}
        for place, request in enumerate(plan.commands):
            prefix = f"commands[{place}]."
            self._state.refuse_known(request.id, f"{prefix}id", also=seen)
            seen.add(request.id)
            check_request(request, self._registry, self.config, prefix=prefix)
        return plan_of(plan)

    def _accept(self, request: ExecutionRequest) -> CommandEntry:
        log = LogFile(self.config.log_folder, request.id)
        entry = CommandEntry(request.id, request=request, log=log)
        self._state.add(entry)
        return entry

    def _run_of(self, entry: CommandEntry) -> CommandRun:
        return CommandRun(
            entry,
            self._registry.get(str(entry.request.command["type"])),
            config=self.config,
            room=self._room,
            processes=self._processes,
            send=self._send,
        )

    def _start(self, entry: Entry, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        entry.task = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _send(self, event: AnyEvent) -> None:
        for dispatcher in self._dispatchers:
            dispatcher.send(event)

    def _command(self, id: str) -> CommandEntry:
        entry = self._state.get(id)
        if not isinstance(entry, CommandEntry):
            raise ExecutionNotFound(f"{id} is a plan: use get_plan_result", id=id)
        return entry
