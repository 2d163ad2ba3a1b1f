"""Internal values of the extractor: customers, upstream answers, and what an extraction led to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import SecretStr

Json = dict[str, Any]
AnswerStatus = Literal["ok", "missing", "denied"]
ExtractionStatus = Literal["completed", "unchanged", "denied", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class Access:
    """How a customer's Virtuoso is reached."""

    api_url: str
    token: SecretStr
    session_id: SecretStr | None = None


@dataclass(frozen=True, slots=True)
class Customer:
    """Whose executions are extracted. Requests name it by id or slug; the slug stands in keys."""

    tenant: str
    id: str
    slug: str
    access: Access
    active: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """What Virtuoso said to one call: the untouched bytes, and the thing in them.

    `missing` (404) and `denied` (401, 403) are answers too: they are kept, never taken for emptiness.
    """

    call: str
    status: AnswerStatus
    body: bytes = b""
    item: Any = None

    @property
    def ok(self) -> bool:
        return self.status == "ok"


@dataclass(frozen=True, slots=True)
class Bundle:
    """All answers about one execution. `goal` and `environments` are None when nothing could be asked for."""

    execution: Answer
    journeys: Mapping[int, Answer]
    goal: Answer | None = None
    environments: Answer | None = None

    def answers(self) -> list[Answer]:
        """In the order of the calls."""
        others = [answer for answer in (self.goal, self.environments) if answer is not None]
        return [self.execution, *self.journeys.values(), *others]

    def incomplete(self) -> list[str]:
        """Which answers are not there, as `call:status`."""
        return [f"{one.call}:{one.status}" for one in self.answers() if not one.ok]


@dataclass(frozen=True, slots=True)
class Request:
    """Somebody wants one execution of one customer in the lake; `event_id` is the same on every redelivery."""

    tenant: str
    customer: str
    execution_id: str
    event_id: str
    requested_by: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an extraction led to."""

    status: ExtractionStatus
    reason: str | None = None
    detail: str | None = None
    row: Mapping[str, Any] = field(default_factory=dict)
    """The index row, for `completed` and `unchanged`."""
    location: str | None = None


def extraction_id(tenant: str, customer: str, execution_id: str) -> str:
    """The queue's key: one item per execution, however often it is asked for."""
    return f"{tenant}/{customer}/{execution_id}"
