"""step-assert: what must be true of the page."""

from typing import Any

from services.proxy.commands.arguments import Element
from services.proxy.commands.base import Arguments, Command, guess, step


class ElementArguments(Arguments):
    element: Element
    """What to look for."""


COMMANDS: tuple[Command[Any], ...] = (
    step(
        "step-assert.exists",
        help="Fail unless the element is there.",
        arguments=ElementArguments,
        parsed=lambda given: {
            "action": "ASSERT_EXISTS",
            "target": guess(given.element),
            "meta": {"kind": "ASSERT"},
        },
    ),
)
