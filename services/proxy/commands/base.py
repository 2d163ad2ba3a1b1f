"""What a command is.

An entry of the catalogue says its name, its arguments (a pydantic model: order of fields is the order on a command
line, docstrings are the help) and, as a pure function, the exact request that Virtuoso gets. To add one, write the
entry in the file of its group and list it there; nothing else changes.

    step(name, help=…, arguments=…, parsed=…)      a test step: `parsed` gives `parsedStep` in its canonical form
    Command(…)                                      anything else: `request` gives the whole call
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from services.proxy.models import Place, UpstreamRequest
from shared.errors import FieldError, InvalidRequest

JsonObject = dict[str, Any]


class Arguments(BaseModel):
    """Arguments of a command; an unknown one is an error."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, defer_build=True
    )


A = TypeVar("A", bound=Arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command(Generic[A]):
    """One entry of the catalogue. `request` gets a place if and only if `is_step`."""

    name: str
    help: str
    arguments: type[A]
    request: Callable[[A, Place | None], UpstreamRequest]
    is_step: bool = False
    aliases: tuple[str, ...] = ()
    created: Callable[[Any], Mapping[str, int | str]] = lambda _: {}
    """Picks the ids of what was created out of the answer."""

    @property
    def group(self) -> str:
        return self.name.partition(".")[0]

    def parse(self, arguments: Mapping[str, Any]) -> A:
        """Raises InvalidRequest with one entry per broken rule."""
        try:
            return self.arguments.model_validate(dict(arguments))
        except ValidationError as error:
            problems = [
                FieldError(".".join(["arguments", *map(str, one["loc"])]), one["type"], one["msg"])
                for one in error.errors(include_url=False, include_input=False)
            ]
            raise InvalidRequest(
                f"the arguments of '{self.name}' are not right", errors=problems
            ) from None

    def describe(self) -> JsonObject:
        """The entry as the API shows it."""
        return {
            "name": self.name,
            "group": self.group,
            "help": self.help,
            "aliases": list(self.aliases),
            "needs_checkpoint": self.is_step,
            "arguments": self.arguments.model_json_schema(),
        }


def step(
    name: str,
    *,
    help: str,
    arguments: type[A],
    parsed: Callable[[A], JsonObject],
    aliases: tuple[str, ...] = (),
) -> Command[A]:
    """A command that puts one test step into a checkpoint."""

    def request(given: A, place: Place | None) -> UpstreamRequest:
        if place is None:
            raise InvalidRequest(f"'{name}' needs a checkpoint or a session that has one")
        body = {
            "checkpointId": place.checkpoint_id,
            "stepIndex": place.position,
            "parsedStep": parsed(given),
        }
        return UpstreamRequest("POST", "/teststeps?envelope=false", body)

    return Command(
        name=name,
        help=help,
        arguments=arguments,
        request=request,
        is_step=True,
        aliases=aliases,
        created=created_step,
    )


def created_step(answer: Any) -> Mapping[str, int | str]:
    """The new step's id, with the envelope or without, under `testStep` or as the object itself."""
    found = answer.get("testStep", answer) if isinstance(answer, dict) else None
    if not isinstance(found, dict) or found.get("id") in (None, ""):
        return {}
    return {"step_id": number(found["id"])}


def number(id: int | str) -> int | str:
    """Virtuoso's ids are numbers, but some of its answers spell them as text."""
    return int(id) if isinstance(id, str) and id.isdecimal() else id


def guess(clue: str, **more: str | None) -> JsonObject:
    """A target by hint; Virtuoso finds the element. The hint is itself a JSON text."""
    hint = {"clue": clue, **{name: value for name, value in more.items() if value is not None}}
    text = json.dumps(hint, separators=(",", ":"), ensure_ascii=False)
    return {"selectors": [{"type": "GUESS", "value": text}]}
