"""Request bodies: from bytes to checked values, with an error that names the field and the rule.

Plans have rules of their own in `shared.plans.validation`; everything else is one of these small models.
"""

import json
from collections import Counter
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from shared.errors import FieldError, InvalidRequest
from shared.plans.mistakes import shown

M = TypeVar("M", bound=BaseModel)
MAX_VALUE = 64 * 1024


def _id_text(value: Any) -> Any:
    """Ids come as text or as whole numbers; `true` is neither."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


ExternalId = Annotated[
    str,
    BeforeValidator(_id_text, json_schema_input_type=str | int),
    Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_\-]*$"),
]
"""An id of somebody else's, safe as a part of object keys and addresses."""
ScopeName = Annotated[
    str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]*$")
]


class Body(BaseModel):
    """An unknown field is an error: it is a typing mistake more often than not."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, defer_build=True
    )


class CancelBody(Body):
    """Body of a cancellation; may be left out."""

    reason: str | None = Field(None, max_length=1024, examples=["superseded by a newer commit"])
    """For people; stands in the execution."""


class DecisionBody(Body):
    """Body of an approval or a rejection; may be left out."""

    comment: str | None = Field(None, max_length=4096, examples=["looks good"])
    """For people; stands in the step's outputs."""


class RerunBody(Body):
    """From where to run again; may be left out."""

    model_config = ConfigDict(populate_by_name=True)

    from_: str = Field("failed", alias="from", min_length=1, max_length=128, examples=["failed"])
    """`failed`: what did not end well, and what comes after it. `start`: everything. Or the name of a step."""
    inputs: dict[str, Any] = Field(default_factory=dict)
    """These replace inputs of the same names; steps that are taken over do not see them."""


class ScanBody(Body):
    """What to scan. An empty list means everything that is configured."""

    accounts: list[ScopeName] = Field(
        default_factory=list, max_length=100, examples=[["123456789012"]]
    )
    regions: list[ScopeName] = Field(default_factory=list, max_length=100, examples=[["eu-west-1"]])
    services: list[ScopeName] = Field(
        default_factory=list, max_length=100, examples=[["ec2", "s3"]]
    )
    cleanup_stale: bool = True
    """Delete resources that a completed scope no longer contains."""


class ExtractionBody(Body):
    """Which Virtuoso execution of which customer to bring into the lake."""

    customer_id: ExternalId = Field(examples=["001"])
    execution_id: ExternalId = Field(examples=[88715])


class ValueBody(Body):
    """Body of a secret or variable."""

    value: str = Field(min_length=1, max_length=MAX_VALUE, pattern=r"^[^\x00]*$")
    """Text of up to 65,536 characters. Base64 what is no text, such as a key store."""


class WebhookBody(BaseModel):
    """Virtuoso says that an execution has ended. Senders may add fields of their own; they are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    customer_id: ExternalId = Field(alias="customerId", examples=["001"])
    execution_id: ExternalId = Field(alias="executionId", examples=[88715])


JobId = Annotated[
    str,
    BeforeValidator(_id_text, json_schema_input_type=str | int),
    Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:\-]*$"),
]


class SevenPsBody(BaseModel):
    """7PS says that a job has ended. Senders may add fields of their own; they are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    execution_id: JobId = Field(alias="executionId", examples=["5b0f2c1e"])
    status: Literal["completed", "failed"] | None = None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys differ: of two equal ones a reader would silently drop one."""
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise _unreadable("duplicate_key", f"the key '{shown(twice)}' stands twice in one object")
    return found


_decode = json.JSONDecoder(object_pairs_hook=_unique).decode


def read_json(raw: bytes) -> dict[str, Any]:
    """The JSON object in `raw`. Raises InvalidRequest. Numbers and characters are judged by whoever stores them."""
    try:
        value = _decode(raw.decode())
    except UnicodeDecodeError as error:
        raise _unreadable("utf8", f"the body is not valid UTF-8 (byte {error.start})") from None
    except RecursionError:
        raise _unreadable("depth", "the body is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise _unreadable("json", f"not valid JSON at position {error.pos}: {error.msg}") from None
    except ValueError:  # the parser's own limit on digits
        raise _unreadable("integer_range", "integers must fit into 64 bits") from None
    if not isinstance(value, dict):
        raise _unreadable("type", "the body must be a JSON object")
    return value


def read(model: type[M], raw: bytes) -> tuple[M, dict[str, Any]]:
    """The checked body, and the caller's own JSON."""
    value = read_json(raw)
    try:
        return model.model_validate(value), value
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        errors = [FieldError(_path(p["loc"]), p["type"], p["msg"]) for p in problems[:100]]
        raise InvalidRequest(f"{errors[0].field}: {errors[0].message}", errors=errors) from None


def _path(loc: tuple[int | str, ...]) -> str:
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)
    text = "".join(parts).removeprefix(".")
    return text.encode("ascii", "backslashreplace").decode()[:256] or "body"


def _unreadable(rule: str, message: str) -> InvalidRequest:
    return InvalidRequest(message, errors=[FieldError("body", rule, message)])
