"""The model of what is expected of an answer."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

_STATUS = re.compile(r"[1-5](?:\d\d|xx)(?:-[1-5]\d\d)?")


def _status(text: str) -> str:
    if not _STATUS.fullmatch(text):
        raise ValueError("write a status as 200, '2xx' or '200-299'")
    return text


JsonPath = Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^\$")]
"""A JSONPath (RFC 9535)."""
Status = Annotated[int, Field(ge=100, le=599)] | Annotated[str, AfterValidator(_status)]


def is_status(choice: Status, status: int) -> bool:
    """Whether a status is meant by what was written."""
    if isinstance(choice, int):
        return status == choice
    low, _, high = choice.replace("xx", "00").partition("-")
    top = int(high) if high else int(low) + (99 if "x" in choice else 0)
    return int(low) <= status <= top


class Expectation(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        populate_by_name=True,
        defer_build=True,
    )


class ValueCheck(Expectation):
    """What a value must be; everything that is given must hold. A path that can find several gives them as a list."""

    exists: bool | None = None
    """False: there must be nothing. Nothing else given: there must be something."""
    equals: Any = None
    """The same JSON value. To compare with null write `exists` and `type: null`."""
    contains: Any = None
    """A part of a text, an item of a list, a key of an object."""
    matches: str | None = Field(None, min_length=1, max_length=1024)
    """A regular expression that is found in the text (no look-around and no back-references, so that it is quick)."""
    min: float | None = None
    max: float | None = None
    length: int | None = Field(None, ge=0)
    """Of a text, a list or an object."""
    type: str | None = Field(None, pattern=r"^(?:string|number|boolean|null|array|object)$")


class JsonCheck(ValueCheck):
    """A check of what a JSONPath finds in the body."""

    path: JsonPath


class Expect(Expectation):
    """What the answer must be."""

    status: Status | list[Status] | None = None
    """One or several of `200`, `2xx`, `200-299`. None: anything below 400."""
    max_ms: float | None = Field(None, gt=0)
    """Longest time until the whole answer was there, redirects included."""
    headers: dict[str, str | ValueCheck] = Field(default_factory=dict, max_length=50)
    """Name of a header → the text that it must be, or a check."""
    body: ValueCheck | None = None
    """A check of the body as a text."""
    json_: list[JsonCheck] = Field(default_factory=list, alias="json", max_length=100)
    """Checks of the body as JSON."""
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    """A JSON Schema that the body must fit. References to other documents are not followed."""
