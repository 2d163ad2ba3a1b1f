"""The contract of a command type.

A command gets its arguments as a validated model and a context; it returns an `Outcome` and never raises for
anything that the caller's command did wrong. It stops by itself when `ctx.cancel` is set or `ctx.deadline` passes
(`ctx.run_process` does both). It knows no driver: whatever it reaches out with comes in the context.

A command that waits for something outside (a job elsewhere, an approval) returns `Suspended` instead of holding its
place; before it starts such a job, or at the latest as soon as it has the job's id, it calls `ctx.remember`, so that
whoever takes the run over after a loss resumes the job instead of starting another.

A new type: one file here, one line in `registry.py`, then `python -m services.executor.commands.reference`.
"""

import asyncio
import builtins
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from services.executor.commands.children import ChildRuns
from services.executor.commands.outcome import Outcome, Suspended, completed, failed
from services.executor.commands.reach import Reach
from services.executor.processes.model import Limits, LogSink, OnSample
from shared.security.redaction import Redactor

__all__ = [
    "Command",
    "CommandContext",
    "Outcome",
    "Params",
    "ProcessRunner",
    "Reach",
    "Suspended",
    "completed",
    "failed",
]


class Params(BaseModel):
    """Arguments of a command type: the keys of `command` beside `type`."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, defer_build=True
    )


class ProcessRunner(Protocol):
    """Runs a process to its end within the context's deadline, cancel mark and limits."""

    async def run(
        self, argv: Sequence[str], ctx: "CommandContext", *, env: Mapping[str, str] | None = None
    ) -> Outcome: ...


Remember = Callable[[Mapping[str, Any]], Awaitable[None]]
"""Stores the state of a try that another owner could go on with; durable when it returns."""


async def forget(state: Mapping[str, Any]) -> None:
    """A `Remember` where nobody takes over."""


@dataclass(frozen=True, slots=True)
class CommandContext:
    """Everything that a command may use while it runs."""

    working_dir: Path
    """The execution's own folder; exists."""
    env: Mapping[str, str]
    """Complete environment for processes (see `processes/environment.py`)."""
    emit: LogSink
    """Output line by line; redact first what does not come from `run_process`."""
    processes: ProcessRunner
    deadline: float | None = None
    """`time.monotonic()` value after which the try is timed out."""
    cancel: asyncio.Event = field(default_factory=asyncio.Event)
    run: str | None = None
    """Daemons of a try that ended well live until this run ends (`end_run`); None: nobody ends them."""
    redactor: Redactor = field(default_factory=Redactor)
    uid: int | None = None
    """User that processes run as; None: the executor's own."""
    artifacts_dir: Path | None = None
    """Files left here are kept as artifacts; processes see it as `CADENZA_ARTIFACTS`."""
    output_file: Path | None = None
    """Where a process sets outputs (JSON lines); processes see it as `CADENZA_OUTPUT`."""
    limits: Limits = field(default_factory=Limits)
    on_sample: OnSample | None = None
    reach: Reach = field(default_factory=Reach)
    remember: Remember = forget
    heard: Sequence[Mapping[str, Any]] = ()
    """While a try is resumed: what the wakes that it has not heard before have brought. A wake may be heard twice."""
    tenant: str | None = None
    """Whose run it is; None where there are no tenants."""
    key: str | None = None
    """Names this step of this run, the same in every try: an idempotency key for what is asked of others."""
    attempt: str | None = None
    """Names the try within the step; one that is resumed keeps its name."""
    children: ChildRuns | None = None
    """Child executions of this step; None: there can be none here."""
    repeatable: bool = True
    """False: what may have had an effect is not asked for again (the step's `idempotent: false`)."""

    async def run_process(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None
    ) -> Outcome:
        """Run `argv` to its end; `env` is added to the context's."""
        return await self.processes.run(argv, self, env=env)


P = TypeVar("P", bound=Params)


class Command(ABC, Generic[P]):
    """One command type. Stateless: one instance serves all runs."""

    type: ClassVar[str]
    uses_files: ClassVar[bool] = True
    """False: it needs no working directory, and none is made for it."""
    patient: ClassVar[bool] = False
    """True: without a timeout of its own the step may take as long as it likes, for it mostly waits."""
    internal: ClassVar[bool] = False
    """True: the platform makes such steps, no plan may name the type."""
    params: builtins.type[P]
    """The model of its arguments."""

    @classmethod
    def details(cls) -> str:
        """What its reference page says after the arguments, as Markdown."""
        return ""

    @abstractmethod
    async def run(self, params: P, ctx: CommandContext) -> Outcome | Suspended: ...

    async def resume(
        self,
        params: P,  # noqa: ARG002 - the contract
        ctx: CommandContext,  # noqa: ARG002
        state: Mapping[str, Any],  # noqa: ARG002
    ) -> Outcome | Suspended:
        """Go on with what `run` remembered or suspended. Types that do neither never see this."""
        return failed("not_resumable", f"a step of type '{self.type}' cannot be resumed")

    def parse(self, arguments: Mapping[str, Any]) -> P:
        """The arguments (with or without `type`) as a model. Raises pydantic's ValidationError."""
        return self.params.model_validate({k: v for k, v in arguments.items() if k != "type"})

    async def execute(
        self,
        arguments: Mapping[str, Any],
        ctx: CommandContext,
        *,
        state: Mapping[str, Any] | None = None,
    ) -> Outcome | Suspended:
        """Parse, run (or resume from `state`), mask secrets in what comes out; arguments that are wrong only now (after
        references) end as `invalid_arguments`. Names of fields are no reason to mask: outputs are data for other steps.
        """
        try:
            params = self.parse(arguments)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"])) or "command"
            return failed("invalid_arguments", f"{where}: {first['msg']}")
        if state is None:
            outcome = await self.run(params, ctx)
        else:
            outcome = await self.resume(params, ctx, state)
        if isinstance(outcome, Suspended):
            return outcome
        if not outcome.outputs and not outcome.error:
            return outcome
        return replace(
            outcome,
            outputs=ctx.redactor.redact_json(outcome.outputs, fields=False),
            error=ctx.redactor.redact(outcome.error) if outcome.error else None,
        )
