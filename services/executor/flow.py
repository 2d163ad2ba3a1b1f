"""What conditions, fallbacks and clean-up steps mean for a run that is under way."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from services.executor.models import StepRecord
from services.executor.planning.strategies import Schedule
from services.executor.scope import RunScope
from shared.plans.conditions import Facts, read_condition
from shared.plans.plan import Step
from shared.plans.references import Values, resolve


def holds(
    step: Step, scope: RunScope, *, steps: Mapping[str, tuple[str, str | None]], run: str
) -> bool:
    """Whether the step's condition holds now. Raises ConditionError."""
    if step.when is None:
        return True
    values = Values(
        steps=scope.outputs,
        inputs={**scope.plan.inputs, **scope.inputs},
        row=scope.claimed.get("row") or {},
    )
    values = replace(values, input=resolve(step.input, values))
    return read_condition(step.when).holds(Facts(values, steps=steps, run=run))


def has_begun(record: StepRecord) -> bool:
    """Whether a former owner had started the step."""
    return record.started or record.tries > 0


def stand_in(schedule: Schedule, scope: RunScope) -> None:
    """From here on the outputs of a step that failed are those of the fallback that stood in for it."""
    for name, by in schedule.covered.items():
        scope.outputs[name] = scope.outputs.get(by, {})


class Cleanup:
    """The time that clean-up steps have once the run is being stopped. They see `stop` only when it is over."""

    def __init__(self, scope: RunScope) -> None:
        self._seconds = scope.plan.cleanup_seconds
        self._timer: asyncio.TimerHandle | None = None
        self.scope = replace(scope, stop=asyncio.Event(), cut="cleanup_timeout")

    def begin(self) -> None:
        """The run is being stopped and nothing but clean-up is left of it."""
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._seconds, self.scope.stop.set)

    def over(self) -> None:
        """The run has ended."""
        if self._timer is not None:
            self._timer.cancel()
