"""From an app's configuration to an ordinary plan, and everything that is wrong with a configuration."""

import difflib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from shared.errors import FieldError, InvalidRequest
from shared.plans.apps import AppConfiguration, AppParameter, AppReference, AppStep, ParameterType
from shared.plans.mistakes import first, shown
from shared.plans.subplans import TYPE as SUB_PLAN
from shared.plans.validation import validate_plan

_KINDS: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "list<object>": (list,),
    "object": (dict,),
    "any": (object,),
}
_EMPTY: Mapping[str, Any] = {"string": "", "array": [], "list<object>": [], "object": {}}
_OF_PLANS = {"concurrency", "env", "sources", "data", "matrix", "max_lanes"}
_OF_STEPS = {
    *("version", "when", "always", "fallback", "env", "artifacts", "reports", "limits"),
    *("requires", "encrypted_fields", "timeout_seconds", "idempotent"),
}
"""What stands in a configuration as in a plan."""
_NEEDS = re.compile(r"^(configuration\.steps\[\d+\])\.needs")
_LISTS = ("array", "list<object>")


def plan_of(
    app: AppReference,
    configuration: AppConfiguration,
    inputs: Mapping[str, Any],
    *,
    unresolved: Collection[str] = (),
) -> dict[str, Any]:
    """The plan of one run. Raises InvalidRequest that names every input that is missing or has another type; types of
    `unresolved` inputs are not known yet.
    """
    needed = list(_open_inputs(configuration))
    errors = first(_wrong_inputs(configuration, needed, inputs, unresolved))
    if errors:
        raise _invalid(errors)
    return _plan(app, configuration, needed)


def check_configuration(app: AppReference, configuration: AppConfiguration) -> None:
    """Raises InvalidRequest with paths below `configuration`."""
    errors = first(_wrong_steps(configuration)) or first(_wrong_types(configuration))
    errors = errors or list(_starting_itself(app, configuration))
    if errors:
        raise _invalid(errors)
    try:
        validate_plan(_plan(app, configuration, list(_open_inputs(configuration))))
    except InvalidRequest as error:
        raise _invalid([_moved(one) for one in error.errors]) from None


def _plan(
    app: AppReference,
    configuration: AppConfiguration,
    needed: Sequence[tuple[AppStep, AppParameter]],
) -> dict[str, Any]:
    names = {step.id: step.name for step in configuration.steps}
    plan: dict[str, Any] = {
        "name": app.path,
        "strategy": {"type": "dependency_graph"},
        "inputs": {parameter.name: _fallback(parameter) for _, parameter in needed},
        "steps": [_step(step, names, configuration) for step in configuration.steps],
    }
    if configuration.description:
        plan["description"] = configuration.description
    if configuration.settings.timeout_seconds is not None:
        plan["timeout_seconds"] = configuration.settings.timeout_seconds
    return plan | configuration.model_dump(mode="json", include=_OF_PLANS, exclude_unset=True)


def _step(
    step: AppStep, names: Mapping[int, str], configuration: AppConfiguration
) -> dict[str, Any]:
    producers = _producers(step, configuration)
    compiled: dict[str, Any] = {
        "name": step.name,
        "command": step.command,
        "needs": [names[id_] for id_ in dict.fromkeys(step.depends_on)],
        "input": {one.name: _reference(one.name, producers) for one in step.input},
        **step.model_dump(
            include=_OF_STEPS,
            exclude_defaults=True,
        ),
    }
    if configuration.settings.max_retries:
        compiled["retry"] = {"max_attempts": configuration.settings.max_retries + 1}
    return compiled


def _reference(name: str, producers: Mapping[str, AppStep]) -> str:
    if producer := producers.get(name):
        return f"${{{{ steps.{producer.name}.outputs.{name} }}}}"
    return f"${{{{ inputs.{name} }}}}"


def _producers(step: AppStep, configuration: AppConfiguration) -> dict[str, AppStep]:
    """Output name → the nearest step before this one that puts it out."""
    found: dict[str, AppStep] = {}
    for before in _before(step, configuration):
        for output in before.output:
            found.setdefault(output.name, before)
    return found


def _before(step: AppStep, configuration: AppConfiguration) -> Iterator[AppStep]:
    """All steps that this one depends on, the nearest first."""
    by_id = {one.id: one for one in configuration.steps}
    seen = {step.id}
    near = list(step.depends_on)
    for id_ in near:
        if id_ not in seen and id_ in by_id:
            seen.add(id_)
            yield by_id[id_]
            near.extend(by_id[id_].depends_on)


def _open_inputs(configuration: AppConfiguration) -> Iterator[tuple[AppStep, AppParameter]]:
    """Inputs that no step before puts out: the run has to bring them."""
    for step in configuration.steps:
        producers = _producers(step, configuration)
        yield from ((step, one) for one in step.input if one.name not in producers)


def _fallback(parameter: AppParameter) -> Any:
    return _EMPTY.get(parameter.type) if parameter.default is None else parameter.default


def _wrong_inputs(
    configuration: AppConfiguration,
    needed: Sequence[tuple[AppStep, AppParameter]],
    inputs: Mapping[str, Any],
    unresolved: Collection[str],
) -> Iterator[FieldError]:
    for step, parameter in needed:
        value = inputs.get(parameter.name, _fallback(parameter))
        field = f"inputs.{parameter.name}"
        if parameter.required and value in (None, "", [], {}):
            yield FieldError(field, "missing", _missing(step, parameter, configuration, inputs))
        elif (
            parameter.name in inputs
            and parameter.name not in unresolved
            and not _fits(value, parameter.type)
        ):
            yield FieldError(field, "type", f"must be of type {parameter.type}")


def _missing(
    step: AppStep,
    parameter: AppParameter,
    configuration: AppConfiguration,
    inputs: Mapping[str, Any],
) -> str:
    told = f"step '{step.name}' needs '{parameter.name}'"
    if parameter.name in inputs:
        return f"{told}, which may not be empty"
    outputs = _producers(step, configuration)
    nearest = _nearest(parameter.name, outputs)
    if nearest is not None:
        source = outputs[nearest].name
        return (
            f"{told}, which is no input of this run and no output of the steps before it;"
            f" the nearest output is '{nearest}' of step '{source}'"
        )
    unknown = {name: None for name in inputs if name not in _known(configuration)}
    slip = _nearest(parameter.name, unknown)
    return told if slip is None else f"{told}; is '{shown(slip)}' meant to be it?"


def _known(configuration: AppConfiguration) -> set[str]:
    return {one.name for step in configuration.steps for one in step.input}


def _nearest(name: str, known: Mapping[str, Any]) -> str | None:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    return near[0] if near else None


def _fits(value: Any, type_: ParameterType) -> bool:
    if isinstance(value, bool):
        return type_ in ("boolean", "any")
    if type_ == "list<object>" and isinstance(value, list):
        return all(isinstance(item, dict) for item in value)
    return isinstance(value, _KINDS[type_])


def _wrong_steps(configuration: AppConfiguration) -> Iterator[FieldError]:
    ids = [step.id for step in configuration.steps]
    names = [step.name for step in configuration.steps]
    for place, step in enumerate(configuration.steps):
        base = f"configuration.steps[{place}]"
        if ids.index(step.id) != place:
            where = f"steps[{ids.index(step.id)}]"
            yield FieldError(f"{base}.id", "duplicate", f"{step.id} is the id of {where} too")
        if names.index(step.name) != place:
            where = f"steps[{names.index(step.name)}]"
            message = f"'{shown(step.name)}' is the name of {where} too"
            yield FieldError(f"{base}.name", "duplicate", message)
        for number, id_ in enumerate(step.depends_on):
            if id_ not in ids:
                message = f"there is no step with id {id_}; known: {', '.join(map(str, ids[:20]))}"
                yield FieldError(f"{base}.depends_on[{number}]", "unknown_step", message)
        yield from _twice(step.input, f"{base}.input")
        yield from _twice(step.output, f"{base}.output")


def _twice(parameters: Sequence[AppParameter], field: str) -> Iterator[FieldError]:
    names = [one.name for one in parameters]
    for place, name in enumerate(names):
        if names.index(name) != place:
            yield FieldError(f"{field}[{place}].name", "duplicate", f"'{name}' stands twice")


def _wrong_types(configuration: AppConfiguration) -> Iterator[FieldError]:
    """An output feeds an input of the same type; a default has the type of its input."""
    for place, step in enumerate(configuration.steps):
        producers = _producers(step, configuration)
        for number, wanted in enumerate(step.input):
            field = f"configuration.steps[{place}].input[{number}]"
            if wanted.default is not None and not _fits(wanted.default, wanted.type):
                yield FieldError(f"{field}.default", "type", f"must be of type {wanted.type}")
            producer = producers.get(wanted.name)
            if producer is None:
                continue
            given = next(one for one in producer.output if one.name == wanted.name)
            if not _feeds(given.type, wanted.type):
                message = f"step '{producer.name}' puts out '{wanted.name}' as {given.type}"
                yield FieldError(f"{field}.type", "type", message)


def _starting_itself(app: AppReference, configuration: AppConfiguration) -> Iterator[FieldError]:
    """Steps that name the app whose steps they are. Longer ways round are seen when a run is accepted."""
    for place, step in enumerate(configuration.steps):
        command = step.command
        same = command.get("app") == app.name and command.get("sub_app") == app.sub_app
        if command.get("type") == SUB_PLAN and same and command.get("version") is None:
            field = f"configuration.steps[{place}].command.app"
            yield FieldError(field, "recursion", "the app would start itself")


def _feeds(given: ParameterType, wanted: ParameterType) -> bool:
    if "any" in (given, wanted) or given == wanted or (given in _LISTS and wanted in _LISTS):
        return True
    return (given, wanted) == ("integer", "number")


def _moved(error: FieldError) -> FieldError:
    """What is wrong with the plan, said of the configuration that it came from."""
    field = error.field.replace("plan.", "configuration.", 1)
    field = _NEEDS.sub(r"\1.depends_on", field)
    return FieldError(field, error.rule, error.message)


def _invalid(errors: Sequence[FieldError]) -> InvalidRequest:
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return InvalidRequest(f"{errors[0].field}: {errors[0].message}{more}", errors=errors)
