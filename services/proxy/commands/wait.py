"""step-wait: time for the page."""

from typing import Any

from pydantic import Field

from services.proxy.commands.base import Arguments, Command, step

POLL_MS = 100  # how often Virtuoso looks; the vendor's own value


class TimeArguments(Arguments):
    milliseconds: int = Field(ge=0, le=60_000, strict=True, examples=[2000])
    """How long to wait."""


COMMANDS: tuple[Command[Any], ...] = (
    step(
        "step-wait.time",
        help="Wait for a time.",
        arguments=TimeArguments,
        parsed=lambda given: {
            "action": "WAIT",
            "value": str(given.milliseconds),
            "meta": {
                "kind": "WAIT",
                "type": "TIME",
                "duration": given.milliseconds,
                "poll": POLL_MS,
            },
        },
    ),
)
