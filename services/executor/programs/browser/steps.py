"""The steps of a browser script: what each action needs and may have.

One flat model with a table of actions, because the gateway checks plans by JSON Schema and people read what is wrong:
"'element' is missing" says more than "fits none of 25 alternatives".
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema, model_validator

from services.executor.http_steps.expectations import Status

MAX_STEPS = 1_000
ALWAYS = ("action", "name", "timeout_seconds")


@dataclass(frozen=True, slots=True)
class Action:
    """What an action does and takes. `one_of`: exactly one of these."""

    help: str
    needs: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()
    may: tuple[str, ...] = ()

    @property
    def takes(self) -> tuple[str, ...]:
        frame = ("frame",) if "element" in (*self.needs, *self.one_of, *self.may) else ()
        return (*ALWAYS, *self.needs, *self.one_of, *self.may, *frame)


_TEXT = ("equals", "contains")

ACTIONS: dict[str, Action] = {
    "navigate": Action(
        "Open an address; a relative one starts at `base_url`.",
        ("url",),
        may=("load", "expect_status"),
    ),
    "reload": Action("Load the page again.", may=("load", "expect_status")),
    "back": Action("Go back one page.", may=("load",)),
    "click": Action("Click.", ("element",), may=("button", "times")),
    "hover": Action("Move the mouse over it.", ("element",)),
    "fill": Action("Set the text of a field at once.", ("element", "value")),
    "type": Action("Type key by key, after what is there.", ("element", "value")),
    "select": Action("Choose options by value or label.", ("element", "values")),
    "check": Action("Tick a checkbox or radio button.", ("element",)),
    "uncheck": Action("Untick a checkbox.", ("element",)),
    "press": Action("Press a key such as `Enter` or `Control+A`.", ("key",), may=("element",)),
    "upload": Action("Choose files of the working directory.", ("element", "files")),
    "wait_for": Action(
        "Wait for an element, an address, a load state or milliseconds.",
        one_of=("element", "url", "load", "ms"),
        may=("state",),
    ),
    "assert_text": Action("The element's text.", ("element",), _TEXT, ("ignore_case",)),
    "assert_value": Action("The field's value.", ("element",), _TEXT),
    "assert_visible": Action("It is there and visible.", ("element",)),
    "assert_hidden": Action("It is hidden or not there.", ("element",)),
    "assert_count": Action("How many elements match.", ("element", "count")),
    "assert_url": Action("The address.", one_of=_TEXT),
    "assert_title": Action("The page's title.", one_of=_TEXT),
    "screenshot": Action("Keep a picture of the page or an element.", may=("element", "full_page")),
    "read": Action("Keep an element's text in the outputs.", ("element", "save_as")),
    "evaluate": Action("Run JavaScript in the page.", ("script",), may=("save_as",)),
    "download": Action(
        "Keep the file behind a click or an address.", one_of=("element", "url"), may=("save_as",)
    ),
    "dialogs": Action("How to answer the dialogs that follow.", ("answer",), may=("value",)),
    "switch_page": Action("Go on in another page, by number from 1; -1: the latest.", ("page",)),
    "close_page": Action("Close the present page and go on in the one before."),
}

Load = Literal["domcontentloaded", "load", "networkidle"]


def _known(name: str) -> str:
    if name not in ACTIONS:
        raise ValueError(f"there is no action '{name}'; known: {', '.join(ACTIONS)}")
    return name


ActionName = Annotated[str, AfterValidator(_known), WithJsonSchema({"enum": list(ACTIONS)})]


def _rules() -> list[dict[str, Any]]:
    """The table as JSON Schema."""
    rules = []
    for name, action in ACTIONS.items():
        then: dict[str, Any] = {"propertyNames": {"enum": sorted(action.takes)}}
        if action.needs:
            then["required"] = list(action.needs)
        if action.one_of:
            then["oneOf"] = [{"required": [field]} for field in action.one_of]
        test = {"properties": {"action": {"const": name}}, "required": ["action"]}
        rules.append({"if": test, "then": then})
    return rules


class BrowserStep(BaseModel):
    """One step: `action` and what it takes."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        defer_build=True,
        json_schema_extra={"allOf": _rules()},  # type: ignore[dict-item]
    )

    action: ActionName
    """What to do; see the table of actions."""
    name: str | None = Field(None, min_length=1, max_length=200)
    """Shown in results instead of action and element."""
    timeout_seconds: float | None = Field(None, gt=0, le=600)
    """None: the script's."""
    element: str = Field("", min_length=1, max_length=2000)
    """See "Locators"."""
    frame: str = Field("", min_length=1, max_length=2000)
    """The iframe that the element is in, as a locator."""
    url: str = Field("", min_length=1, max_length=8000)
    """An address; of `wait_for`: a part of one."""
    value: str = ""
    """A text."""
    values: list[str] = Field(default_factory=list, max_length=1000)
    """Values or labels of options; [] chooses none."""
    key: str = Field("", min_length=1, max_length=100)
    """A key, or several with `+`."""
    files: list[str] = Field(default_factory=list, min_length=1, max_length=100)
    """Paths inside the working directory."""
    equals: str = ""
    """The whole text, blanks at the ends and in a row aside."""
    contains: str = ""
    """A part of the text."""
    ignore_case: bool = False
    """Do not tell `A` from `a`."""
    count: int = Field(0, ge=0)
    """How many."""
    state: Literal["visible", "hidden", "attached", "detached"] = "visible"
    """Of the element that is waited for."""
    load: Load = "load"
    """When a page counts as loaded."""
    expect_status: Status | list[Status] | None = None
    """What the page must answer with: one or several of `200`, `2xx`, `200-299`. None: anything below 500."""
    ms: int = Field(0, ge=0, le=600_000)
    """Milliseconds. Waiting for something is quicker and surer than waiting for time."""
    button: Literal["left", "right", "middle"] = "left"
    """Of the mouse."""
    times: int = Field(1, ge=1, le=10)
    """2: a double click."""
    full_page: bool = False
    """Also what is below the visible part."""
    script: str = Field("", min_length=1, max_length=100_000)
    """An expression or a function; a promise is waited for."""
    save_as: str = Field("", pattern=r"^[A-Za-z_][A-Za-z0-9_\-]{0,63}$")
    """Name below `values` in the outputs: `${{ steps.x.outputs.values.name }}`."""
    answer: Literal["accept", "dismiss"] = "accept"
    """`value` is what a prompt gets."""
    page: int = Field(1, ge=-20, le=100)
    """Number of a page, in the order in which they opened."""

    @model_validator(mode="after")
    def _fits_its_action(self) -> "BrowserStep":
        problem = next(_problems(self), None)
        if problem:
            raise ValueError(problem)
        return self

    @property
    def title(self) -> str:
        """What the step is called in logs and results. Never a value: it may be a secret."""
        what = self.name or self.element or self.url or self.key or self.equals or self.contains
        return f"{self.action} {what}".strip() if not self.name else self.name


def _problems(step: BrowserStep) -> Iterator[str]:
    action = ACTIONS[step.action]
    given = step.model_fields_set
    for name in action.needs:
        if name not in given:
            yield f"'{step.action}' needs '{name}'"
    if action.one_of and len(given & set(action.one_of)) != 1:
        yield f"'{step.action}' takes exactly one of: {', '.join(action.one_of)}"
    for name in sorted(given - set(action.takes)):
        yield f"'{step.action}' has no '{name}'; it takes {', '.join(action.takes)}"


def reference() -> str:
    """The table of actions, for the reference page."""
    rows = [
        f"| `{name}` | {action.help} | {_list(action.needs)} | {_either(action)} | {_list(action.may)} |"
        for name, action in ACTIONS.items()
    ]
    head = [
        "| action | what it does | needs | exactly one of | may have |",
        "|---|---|---|---|---|",
    ]
    fields = [
        f"| `{name}` | {' '.join((field.description or '').split())} |"
        for name, field in BrowserStep.model_fields.items()
    ]
    return "\n".join([*head, *rows, "", "| field | meaning |", "|---|---|", *fields])


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _either(action: Action) -> str:
    return _list(action.one_of)
