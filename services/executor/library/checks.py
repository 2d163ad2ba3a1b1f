"""Everything that is refused before anything starts, as typed errors."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from services.executor.commands.aws_cli import INSTALL, AwsCliParams
from services.executor.commands.base import Command
from services.executor.commands.script import ScriptParams
from services.executor.library.config import ExecutionConfig
from services.executor.library.errors import (
    InvalidCommand,
    InvalidPlan,
    InvalidWorkingDir,
    MissingField,
    ScriptNotFound,
    TimeoutTooLarge,
    ValidationFailed,
)
from services.executor.library.models import (
    DependencyGraphStrategy,
    ExecutionPlan,
    ExecutionRequest,
    ParallelStrategy,
)
from shared.errors import NotFound
from shared.plans.plan import DependencyGraph, Parallel, Plan, Serial, Step, Strategy
from shared.plans.rules import check_graph, topological
from shared.registry import Registry

M = TypeVar("M", bound=BaseModel)

_BY_FIELD: Mapping[str, type[ValidationFailed]] = {
    "command": InvalidCommand,
    "working_dir": InvalidWorkingDir,
    "strategy": InvalidPlan,
    "commands": InvalidPlan,
}


def read(model: type[M], raw: M | Mapping[str, Any]) -> M:
    """The model behind `raw`. Raises a ValidationFailed."""
    if isinstance(raw, model):
        return raw
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise _typed(error, "") from None


def check_request(
    request: ExecutionRequest,
    registry: Registry[Command[Any]],
    config: ExecutionConfig,
    *,
    prefix: str = "",
) -> None:
    """Raises a ValidationFailed for the first broken rule."""
    if (request.timeout_ms or 0) > config.max_timeout_ms:
        raise TimeoutTooLarge(
            f"{prefix}timeout_ms", asked_ms=request.timeout_ms or 0, max_ms=config.max_timeout_ms
        )
    if request.working_dir is not None and not Path(request.working_dir).is_dir():
        raise InvalidWorkingDir(
            f"{prefix}working_dir", f"there is no folder '{request.working_dir}'"
        )
    params = _check_command(request, registry, f"{prefix}command")
    if isinstance(params, ScriptParams) and params.path:
        path = Path(request.working_dir or ".", params.path)
        if not path.is_file():
            raise ScriptNotFound(f"{prefix}command.path", f"there is no script '{params.path}'")
    if isinstance(params, AwsCliParams) and shutil.which("aws") is None:
        raise InvalidCommand(f"{prefix}command.type", f"there is no `aws` program: {INSTALL}")


def plan_of(plan: ExecutionPlan) -> Plan:
    """The same order as a plan of ours, whose steps are named by their place. Raises InvalidPlan."""
    waits_for: Mapping[int, list[int]] = {}
    if isinstance(plan.strategy, DependencyGraphStrategy):
        waits_for = plan.strategy.dependencies
        _check_places(waits_for, len(plan.commands))
    ours = Plan(
        name="plan",
        strategy=_strategy(plan),
        steps=[
            Step(
                name=str(place),
                command=request.command,
                needs=[str(n) for n in waits_for.get(place, [])],
            )
            for place, request in enumerate(plan.commands)
        ],
    )
    for wrong in check_graph(ours, "", topological(ours)):
        raise InvalidPlan("strategy.dependencies", wrong.message, rule=wrong.rule)
    return ours


def _strategy(plan: ExecutionPlan) -> Strategy:
    match plan.strategy:
        case DependencyGraphStrategy():
            return DependencyGraph()
        case ParallelStrategy(max_concurrency=limit):
            return Parallel(max_concurrency=limit)
        case serial:
            return Serial(stop_on_error=serial.stop_on_error)


def _check_places(waits_for: Mapping[int, list[int]], count: int) -> None:
    for place, needs in waits_for.items():
        for mentioned in (place, *needs):
            if not 0 <= mentioned < count:
                message = f"there is no command {mentioned}: the plan has 0 to {count - 1}"
                raise InvalidPlan("strategy.dependencies", message, rule="range")


def _check_command(
    request: ExecutionRequest, registry: Registry[Command[Any]], field: str
) -> BaseModel:
    type_ = request.command.get("type")
    if type_ is None:
        raise MissingField(f"{field}.type", "name the command type")
    try:
        command = registry.get(str(type_))
    except NotFound as error:
        known = ", ".join(registry.names())
        raise InvalidCommand(f"{field}.type", f"{error.message}; available: {known}") from None
    try:
        params: BaseModel = command.parse(request.command)
        return params
    except ValidationError as error:
        raise _typed(error, f"{field}.", InvalidCommand) from None


def _typed(
    error: ValidationError, prefix: str, otherwise: type[ValidationFailed] | None = None
) -> ValidationFailed:
    first = error.errors(include_url=False, include_input=False)[0]
    location = [str(part) for part in first["loc"]]
    field = prefix + ".".join(location) if location else prefix.rstrip(".") or "request"
    if first["type"] == "missing":
        return MissingField(field, "this field is required")
    kind = otherwise or _BY_FIELD.get(location[0] if location else "", ValidationFailed)
    return kind(field, first["msg"])
