"""What answers look like, and how OpenAPI hears of bodies that are read as bytes."""

from typing import Any, Generic, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field

from services.gateway.models import Page, Requester
from shared.views.executions import ExecutionSummary, ExecutionView, LaneCounts
from shared.web.auth import Principal
from shared.web.connection import client_ip, user_agent

T = TypeVar("T")
EXECUTION_ID = "01900000-0000-7000-8000-000000000000"


class Answer(BaseModel):
    model_config = ConfigDict(defer_build=True, use_attribute_docstrings=True)


class Listing(Answer, Generic[T]):
    """Part of a list."""

    items: list[T]
    next_cursor: str | None = None
    """Pass it as `cursor` to read on; null at the end."""

    @classmethod
    def of(cls, page: Page) -> "Listing[T]":
        return cls.model_construct(items=list(page.items), next_cursor=page.next_cursor)


class RunDetails(ExecutionView):
    """A run in full."""

    lanes: LaneCounts | None = None
    """Of a plan with rows: how its lanes stand at this moment."""


class AcceptedRun(Answer):
    """The run is durable and will be executed."""

    execution_id: str = Field(examples=[EXECUTION_ID])
    status: str = Field(examples=["queued"])
    links: dict[str, str] = Field(
        examples=[{"self": f"/v1/executions/{EXECUTION_ID}"}],
    )


class AcceptedDecision(Answer):
    """The decision is durable; the step goes on."""

    execution_id: str = Field(examples=[EXECUTION_ID])
    step_id: int = Field(examples=[2])
    step_name: str = Field(examples=["release"])
    decision: str = Field(examples=["approve"])
    links: dict[str, str] = Field(examples=[{"self": f"/v1/executions/{EXECUTION_ID}"}])


class AcceptedEvent(Answer):
    """The event is durable; whoever waits for it goes on."""

    key: str = Field(examples=["deployed/shop"])
    event_id: str = Field(examples=[EXECUTION_ID])


class AcceptedRerun(AcceptedRun):
    """The rerun is durable and will be executed."""

    rerun_of: str = Field(examples=[EXECUTION_ID])
    reused: int = Field(examples=[3])
    """How many steps are taken over instead of run again."""
    reused_lanes: int = Field(0, examples=[0])
    """Of a plan with rows: how many lanes are taken over."""


class FamilyAnswer(Answer):
    """A run with all its reruns, folded into one result: that of the newest."""

    family_id: str = Field(examples=[EXECUTION_ID])
    """The first run."""
    status: str = Field(examples=["completed"])
    """Of the newest run; the status of each run itself never changes."""
    reason: str | None = None
    newest_id: str = Field(examples=[EXECUTION_ID])
    lanes: LaneCounts | None = None
    """Of a plan with rows: the lanes of the newest run, with those that it has taken over."""
    items: list[ExecutionSummary]
    """The runs, oldest first."""
    next_cursor: str | None = None


class AcceptedScan(Answer):
    """The scan is durable and will be made."""

    scan_id: str = Field(examples=[EXECUTION_ID])
    status: str = Field(examples=["queued"])
    links: dict[str, str] = Field(examples=[{"self": f"/v1/scans/{EXECUTION_ID}"}])


class AcceptedExtraction(Answer):
    """The extraction is durable and will be made."""

    customer_id: str = Field(examples=["001"])
    execution_id: str = Field(examples=["88715"])
    event_id: str = Field(examples=[EXECUTION_ID])
    status: str = Field(examples=["queued"])
    links: dict[str, str] = Field(examples=[{"self": "/v1/extractions/001/88715"}])


class AcceptedWebhook(Answer):
    """Whoever waits for it will hear of it."""

    execution_id: str = Field(examples=["5b0f2c1e"])
    event_id: str = Field(examples=[EXECUTION_ID])


class ValidPlan(Answer):
    """The plan can be run."""

    valid: bool = True
    steps: list[str] = Field(examples=[["build", "test", "report"]])
    """Names of the steps in an order in which they may run."""
    warnings: list[str] = Field([], examples=[["there is no secret 'GIT_TOKEN' yet"]])
    """What the run would lack at this moment."""


def requester(request: Request, caller: Principal) -> Requester:
    """Who asks, and from where."""
    return Requester(caller.tenant, caller.user, client_ip(request), user_agent(request))


def run_links(execution_id: str) -> dict[str, str]:
    """Where to go on from a run."""
    here = f"/v1/executions/{execution_id}"
    parts = ["steps", "tests", "artifacts", "metrics", "logs", "events", "plan", "family", "rerun"]
    return {"self": here} | {part: f"{here}/{part}" for part in [*parts, "cancel"]}


def json_body(model: type[BaseModel], *, example: Any, required: bool = True) -> dict[str, Any]:
    """OpenAPI of a body that the route reads as bytes, because its exact form counts."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})
    content = {"schema": _inlined(schema, definitions), "example": example}
    return {"requestBody": {"required": required, "content": {"application/json": content}}}


def either_body(*models: type[BaseModel], example: Any) -> dict[str, Any]:
    """OpenAPI of a body that has one of several forms."""
    bodies = [json_body(model, example=example)["requestBody"] for model in models]
    schemas = [body["content"]["application/json"]["schema"] for body in bodies]
    content = {"schema": {"oneOf": schemas}, "example": example}
    return {"requestBody": {"required": True, "content": {"application/json": content}}}


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    """The schema without references; none of our bodies contains itself."""
    if isinstance(schema, list):
        return [_inlined(part, definitions) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if reference := schema.get("$ref"):
        inner = definitions[reference.rsplit("/", 1)[-1]]
        return _inlined({**inner, **{k: v for k, v in schema.items() if k != "$ref"}}, definitions)
    return {
        key: _inlined(value, definitions) for key, value in schema.items() if key != "discriminator"
    }
