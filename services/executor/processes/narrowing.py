"""The limits of one step: the executor's own, narrowed by what the plan says.

Of two limits the lower one holds. A limit is a bound and promises nothing, so one above the executor's is not refused,
which would make a plan depend on where it runs; the step's log says that the executor's holds.
"""

from collections.abc import Iterator
from dataclasses import replace

from services.executor.processes.model import Limits
from shared.plans.plan import StepLimits

NAMES = ("cpu_seconds", "memory_mb", "output_bytes", "processes", "open_files", "file_size_mb")


def narrowed(allowed: Limits, wanted: StepLimits | None) -> Limits:
    """The limits that hold for a step."""
    if wanted is None:
        return allowed
    lower = {
        name: asked
        for name in NAMES
        if (asked := getattr(wanted, name)) is not None and _is_lower(asked, getattr(allowed, name))
    }
    fails = allowed.output_fails or wanted.on_output_limit == "fail"
    return replace(allowed, output_fails=fails, **lower)


def not_granted(allowed: Limits, wanted: StepLimits | None) -> Iterator[str]:
    """A sentence for each limit of the plan that is higher than the executor's."""
    for name in NAMES if wanted is not None else ():
        asked, own = getattr(wanted, name), getattr(allowed, name)
        if asked is not None and not _is_lower(asked, own):
            yield f"limits.{name}: {asked} was asked for, this executor allows {own}"


def _is_lower(asked: int, own: int | None) -> bool:
    return own is None or asked <= own
