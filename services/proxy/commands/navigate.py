"""step-navigate: where the browser goes."""

from typing import Any

from services.proxy.commands.arguments import Url
from services.proxy.commands.base import Arguments, Command, step


class ToArguments(Arguments):
    url: Url
    """Address to open."""
    new_tab: bool = False
    """Open it in a new tab."""


COMMANDS: tuple[Command[Any], ...] = (
    step(
        "step-navigate.to",
        help="Open an address.",
        aliases=("step-navigate", "step-navigate.url", "step-navigate.goto"),
        arguments=ToArguments,
        parsed=lambda given: {
            "action": "NAVIGATE",
            "value": given.url,
            "meta": {"kind": "NAVIGATE", "type": "URL", "useNewTab": given.new_tab},
        },
    ),
)
