"""Plans within plans that are named by their app: found when a run is accepted, so that it runs what was active then.

`with_apps` gives a plan in which every step `{type: plan, app: …}` holds the plan of that app, and says where it is
from (`from_app`). What such a plan names in turn is found too.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from pydantic import ValidationError

from shared.errors import FieldError, InvalidRequest, NotFound
from shared.events.run import AppRun
from shared.plans.app_plans import plan_of
from shared.plans.apps import AppConfiguration, AppReference
from shared.plans.references import BadReference, is_whole
from shared.plans.subplans import MAX_NESTED, TYPE
from shared.views.apps import AppView

MAX_BYTES = 4 * 1024 * 1024
"""Of all plans that are found for one run."""

Find = Callable[[AppReference], Awaitable[AppView]]
"""The version that is named, or the active one. Raises NotFound with a sentence."""
_NAMES = ("app", "sub_app", "version")


async def with_apps(
    plan: Mapping[str, Any], find: Find, *, app: AppRun | None = None
) -> Mapping[str, Any]:
    """The plan itself when none of its steps names an app. It has been validated; `app` is what it was made from.

    Raises InvalidRequest that names the field.
    """
    above = (_key(app),) if app is not None else ()
    return await _Finding(find).within(plan, "plan", above)


def app_run_of(view: AppView) -> AppRun:
    """What a run keeps of the version that it was started from."""
    return AppRun(
        app_id=view.app_id,
        app_name=view.app_name,
        sub_app_id=view.sub_app_id,
        sub_app_name=view.sub_app_name,
        app_version=view.version,
    )


class _Finding:
    """All that is found for one run."""

    def __init__(self, find: Find) -> None:
        self._find = find
        self._bytes = 0

    async def within(
        self, plan: Mapping[str, Any], field: str, above: tuple[str, ...]
    ) -> Mapping[str, Any]:
        """`above`: the apps in whose plans this one lies."""
        steps: list[Mapping[str, Any]] = list(plan["steps"])
        for place, step in enumerate(steps):
            command = step["command"]
            if command.get("type") == TYPE:
                held = await self._command(command, f"{field}.steps[{place}].command", above)
                steps[place] = step if held is command else {**step, "command": held}
        changed = any(new is not old for new, old in zip(steps, plan["steps"], strict=True))
        return {**plan, "steps": steps} if changed else plan

    async def _command(
        self, command: Mapping[str, Any], field: str, above: tuple[str, ...]
    ) -> Mapping[str, Any]:
        if command.get("app") is None:
            inner = await self.within(command["plan"], f"{field}.plan", above)
            return command if inner is command["plan"] else {**command, "plan": inner}
        app, inner = await self._plan_of(command, field, above)
        rest = {name: value for name, value in command.items() if name not in _NAMES}
        inner = await self.within(inner, f"{field}.plan", (*above, _key(app)))
        return {**rest, "plan": inner, "from_app": app.model_dump(exclude_none=True)}

    async def _plan_of(
        self, command: Mapping[str, Any], field: str, above: tuple[str, ...]
    ) -> tuple[AppRun, Mapping[str, Any]]:
        reference = _reference(command, field)
        try:
            view = await self._find(reference)
        except NotFound as error:
            raise _refusal(f"{field}.app", "unknown_app", error.message) from None
        app = app_run_of(view)
        if _key(app) in above:
            way = " → ".join([*above[above.index(_key(app)) :], _key(app)])
            raise _refusal(f"{field}.app", "recursion", f"the app starts itself: {way}")
        if len(above) >= MAX_NESTED:
            raise _refusal(f"{field}.app", "depth", "plans are nested too deeply")
        inputs = command.get("inputs") or {}
        open_inputs = {name for name, value in inputs.items() if _is_open(value)}
        configuration = AppConfiguration.model_validate(view.configuration)
        try:
            plan = plan_of(reference, configuration, inputs, unresolved=open_inputs)
        except InvalidRequest as error:
            raise _moved(error, field) from None
        self._bytes += len(json.dumps(plan))
        if self._bytes > MAX_BYTES:
            raise _refusal(f"{field}.app", "size", "the plans of all apps have more than 4 MiB")
        return app, plan


def _reference(command: Mapping[str, Any], field: str) -> AppReference:
    named = {name: command[name] for name in _NAMES if command.get(name) is not None}
    for name, value in named.items():
        if "${{" in str(value):
            message = "which app is meant must be known when the run is accepted"
            raise _refusal(f"{field}.{name}", "not_allowed", message)
    try:
        return AppReference.model_validate({"name": named.pop("app"), **named})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = "app" if first["loc"][0] == "name" else str(first["loc"][0])
        raise _refusal(f"{field}.{name}", "pattern", first["msg"]) from None


def _is_open(value: Any) -> bool:
    """Whether its type is known only when the step runs."""
    try:
        return isinstance(value, str) and is_whole(value)
    except BadReference:
        return False


def _key(app: AppRun) -> str:
    """The version of an app, as messages name it."""
    path = app.app_name if app.sub_app_name is None else f"{app.app_name}/{app.sub_app_name}"
    return f"{path} {app.app_version}"


def _refusal(field: str, rule: str, message: str) -> InvalidRequest:
    return InvalidRequest(f"{field}: {message}", errors=[FieldError(field, rule, message)])


def _moved(error: InvalidRequest, field: str) -> InvalidRequest:
    errors = [FieldError(f"{field}.{one.field}", one.rule, one.message) for one in error.errors]
    return InvalidRequest(f"{field}.{error.message}", errors=errors)
