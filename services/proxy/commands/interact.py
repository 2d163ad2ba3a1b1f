"""step-interact: what a person does with mouse and keyboard."""

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from services.proxy.commands.arguments import Corner, Element, Text, Variable
from services.proxy.commands.base import Arguments, Command, guess, step


class ClickArguments(Arguments):
    element: Element | None = None
    """What to click; may be left out when `variable` names it."""
    variable: Variable | None = None
    """Variable that holds the hint."""
    position: Corner | None = None
    """Which of several like elements."""
    element_type: Annotated[str, Field(pattern=r"^[A-Z_]+$", examples=["BUTTON"])] | None = None
    """Kind of element, such as BUTTON or LINK."""

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if self.element is None and self.variable is None:
            raise ValueError("either 'element' or 'variable' is needed")
        return self


class WriteArguments(Arguments):
    element: Element
    """Field to write into."""
    text: Text = Field("", examples=["user@example.test"])
    """What to write; stays empty when `variable` supplies it."""
    variable: Variable | None = None
    """Variable whose value is written."""
    append: bool = False
    """Keep what the field already holds."""


def _click_target(given: ClickArguments) -> dict[str, Any]:
    position = given.position or ("CENTER" if given.element_type else None)
    return guess(
        given.element or "",
        variable=given.variable,
        position=position,
        elementType=given.element_type,
    )


COMMANDS: tuple[Command[Any], ...] = (
    step(
        "step-interact.click",
        help="Click an element.",
        aliases=("step-click",),
        arguments=ClickArguments,
        parsed=lambda given: {
            "action": "CLICK",
            "value": "",
            "target": _click_target(given),
            "meta": {"kind": "CLICK", "type": "NATURAL"},
        },
    ),
    step(
        "step-interact.write",
        help="Write text into a field.",
        aliases=("step-write",),
        arguments=WriteArguments,
        parsed=lambda given: {
            "action": "WRITE",
            "value": given.text,
            **({"variable": given.variable} if given.variable else {}),
            "target": guess(given.element),
            "meta": {"kind": "WRITE", "append": given.append},
        },
    ),
)
