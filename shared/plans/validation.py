"""Reads what a caller wrote and says everything that is wrong with it, with exact field paths.

`validate_submission` takes the body of `POST /v1/executions`, `validate_plan` a plan alone. Both take JSON values as a
parser gives them, and raise `InvalidRequest` whose `errors` name each field (`plan.steps[2].name`), the broken rule (a
stable word) and a sentence. The order: can it be stored, has it the right shape, do the rules between fields hold.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from shared.errors import FieldError, InvalidRequest
from shared.plans.command_types import check_commands
from shared.plans.encrypted_fields import check_encrypted_fields
from shared.plans.flow_rules import check_flow
from shared.plans.json_values import (
    MAX_DEPTH,
    beyond_limits,
    encode_or_explain,
    may_be_beyond_limits,
    printable,
)
from shared.plans.mistakes import MAX_ERRORS
from shared.plans.plan import Plan, RunSubmission
from shared.plans.queueing import check_concurrency
from shared.plans.retry_rules import check_retries
from shared.plans.rows import TAGS, check_rows
from shared.plans.rules import (
    check_conditions,
    check_environment,
    check_graph,
    check_inputs,
    check_names,
    check_references,
    topological,
)
from shared.plans.source_rules import check_sources
from shared.plans.subplans import check_subplans

RESERVED_METADATA = ("ip_address", "user_agent", "version", "environment")

_RULES = {
    "extra_forbidden": "unknown_field",
    "missing": "missing",
    "union_tag_invalid": "unknown_type",
    "union_tag_not_found": "missing",
    "string_pattern_mismatch": "pattern",
    "literal_error": "unknown_value",
}
_TAGS = {
    "strategy": frozenset({"serial", "parallel", "dependency_graph"}),
    "sources": frozenset({"git", "upload", "inline"}),
    "data": frozenset(TAGS),
}
"""Names that pydantic puts into the path of a field where a `type` decides; nobody wrote them."""

M = TypeVar("M", bound=BaseModel)


def validate_submission(raw: Any, *, row: Mapping[str, Any] | None = None) -> RunSubmission:
    """The submission behind `raw`; `row` is what the plan of a lane gets. Raises InvalidRequest."""
    text = _stored_faithfully(raw, "body")
    submission = _parse(RunSubmission, raw, "")
    errors = list(_reserved(submission.metadata))
    if may_be_beyond_limits(text):
        errors += _beyond_limits(submission.plan, "plan.")
        errors += beyond_limits(submission.inputs, "inputs")
        errors += beyond_limits(submission.metadata, "metadata")
    errors += check_plan(submission.plan, "plan.", inputs=submission.inputs, row=row, text=text)
    errors += check_concurrency(
        submission.concurrency, "concurrency", submission.plan, submission.inputs
    )
    if not any(error.field.startswith("inputs") for error in errors):
        errors += check_inputs(submission.plan, submission.inputs)
    _refuse(errors)
    return submission


def validate_plan(
    raw: Any, *, inputs: Mapping[str, Any] | None = None, row: Mapping[str, Any] | None = None
) -> Plan:
    """The plan behind `raw`. Raises InvalidRequest. Without `inputs` any input may be referred to; `row` is what the
    plan of a lane gets.
    """
    text = _stored_faithfully(raw, "plan")
    plan = _parse(Plan, raw, "plan")
    errors = _beyond_limits(plan, "plan.") if may_be_beyond_limits(text) else []
    errors += check_plan(plan, "plan.", inputs=inputs, row=row, text=text)
    _refuse(errors)
    return plan


def parsed(model: type[M], raw: Any, root: str = "") -> M:
    """Another body as its model, by the same words. Raises InvalidRequest."""
    _stored_faithfully(raw, "body")
    return _parse(model, raw, root)


def check_plan(
    plan: Plan,
    prefix: str,
    *,
    inputs: Mapping[str, Any] | None = None,
    row: Mapping[str, Any] | None = None,
    text: str = "${{",
) -> list[FieldError]:
    """The rules between the fields of a plan. `text` is the plan as JSON, to see quickly what cannot be in it."""
    errors = check_names(plan, prefix)
    if errors:
        return errors
    order = topological(plan)
    errors = check_graph(plan, prefix, order) + check_flow(plan, prefix)
    broken_graph = bool(errors)
    errors += check_commands(plan, prefix)
    errors += check_environment(plan, prefix)
    errors += check_rows(plan.data, plan.matrix, prefix)
    errors += check_concurrency(plan.concurrency, f"{prefix}concurrency", plan, inputs)
    errors += check_sources(plan, prefix)
    errors += check_encrypted_fields(plan, prefix)
    errors += check_retries(plan, prefix)
    if "${{" in text and not broken_graph:
        errors += check_references(plan, prefix, order, inputs=inputs, row=row)
    if not broken_graph:
        errors += check_conditions(plan, prefix, order, inputs=inputs, row=row)
    commands = ((f"{prefix}steps[{n}].command", step.command) for n, step in enumerate(plan.steps))
    return errors + check_subplans(commands, _check_subplan)


def _check_subplan(raw: Any, prefix: str, inputs: Mapping[str, Any]) -> list[FieldError]:
    plan = _parse(Plan, raw, prefix)
    errors = check_plan(plan, f"{prefix}.", inputs=inputs)
    return [replace(e, field=f"{prefix}.{e.field}") for e in check_inputs(plan, inputs)] + errors


def _stored_faithfully(raw: Any, name: str) -> str:
    """`raw` as JSON text. Free-form values lie some levels down: their own depth is looked at later."""
    text, found = encode_or_explain(raw, name, max_depth=MAX_DEPTH + 10)
    _refuse([FieldError(e.field.removeprefix("body."), e.rule, e.message) for e in found])
    return text


def _parse(model: type[M], raw: Any, root: str) -> M:
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        raise _invalid(
            [_field_error(p["loc"], p["type"], p["msg"], root) for p in problems]
        ) from None


def _field_error(loc: tuple[int | str, ...], kind: str, message: str, root: str) -> FieldError:
    if kind == "union_tag_not_found":
        loc, message = (*loc, "type"), "Field required"
    return FieldError(_path(loc, root), _RULES.get(kind, kind), message)


def _path(loc: Iterable[int | str], root: str) -> str:
    path, previous = root, ""
    for part in loc:
        if isinstance(part, int):
            path += f"[{part}]"
            continue
        if part not in _TAGS.get(previous, ()):
            path += f".{printable(part)}" if path else printable(part)
        previous = part
    return path or "body"


def _reserved(metadata: Mapping[str, Any]) -> Iterable[FieldError]:
    for name in RESERVED_METADATA:
        if name in metadata:
            yield FieldError(
                f"metadata.{name}", "reserved", "is set by the platform, not by callers"
            )


def _beyond_limits(plan: Plan, prefix: str) -> list[FieldError]:
    errors = beyond_limits(plan.inputs, f"{prefix}inputs")
    if isinstance(plan.data, list):
        for place, row in enumerate(plan.data):
            errors += beyond_limits(row, f"{prefix}data[{place}]")
    if plan.matrix is not None:
        errors += beyond_limits(plan.matrix.model_dump(), f"{prefix}matrix")
    for place, step in enumerate(plan.steps):
        errors += beyond_limits(step.command, f"{prefix}steps[{place}].command")
        errors += beyond_limits(step.input, f"{prefix}steps[{place}].input")
        errors += beyond_limits(step.metadata, f"{prefix}steps[{place}].metadata")
    return errors


def _refuse(errors: list[FieldError]) -> None:
    if errors:
        raise _invalid(errors)


def _invalid(errors: list[FieldError]) -> InvalidRequest:
    first = errors[0]
    told = errors[:MAX_ERRORS]
    more = f" (and {len(told) - 1} more)" if len(told) > 1 else ""
    return InvalidRequest(f"{first.field}: {first.message}{more}", errors=told)
