"""Apps: what is kept under a name and a version, and how it becomes a plan.

A configuration has the schema document's shape, `{steps: [{id, name, input[], output[], depends_on[]}], description,
settings}`; each step also says which `command` it runs. Its inputs are collected by name: from the nearest step among
all that it depends on, directly or through others, that puts out such a name; else from the inputs of the run; else
its default. Pure: gateway and executor compile alike.
"""

from typing import Any, Literal

from pydantic import Field, model_validator

from shared.plans.plan import (
    MAX_STEPS,
    ArtifactRule,
    Concurrency,
    EncryptedField,
    Labels,
    Name,
    PlanPart,
    ReportPath,
    Seconds,
    StepLimits,
    WorkerLabel,
)
from shared.plans.rows import ArtifactTable, Matrix, Table
from shared.plans.sources import Sources
from shared.work.labels import MAX_LABELS

ParameterType = Literal[
    "string", "integer", "number", "boolean", "array", "object", "list<object>", "any"
]


class AppParameter(PlanPart):
    """One input or output of a step."""

    name: Name
    type: ParameterType = "string"
    description: str | None = Field(None, max_length=1024)
    required: bool = False
    """An input without which the step cannot run; it may not be empty either."""
    default: Any = None
    """Of an input that nobody gives; None: empty, according to its type."""


class AppStep(PlanPart):
    """One step of an app. `id` is unique within the app, and what `depends_on` names."""

    id: int = Field(ge=1, le=1_000_000)
    name: Name
    description: str | None = Field(None, max_length=1024)
    version: str | None = Field(None, max_length=64)
    input: list[AppParameter] = Field(default_factory=list, max_length=200)
    output: list[AppParameter] = Field(default_factory=list, max_length=200)
    depends_on: list[int] = Field(default_factory=list, max_length=1000)
    command: dict[str, Any]
    """What runs, as in a plan; it reads its inputs as `${{ input.name }}`."""
    when: str | None = Field(None, min_length=1, max_length=1100)
    """This and the following as in a plan; steps are named by their names there."""
    always: bool = False
    fallback: Name | None = None
    env: dict[str, str] = Field(default_factory=dict)
    artifacts: list[ArtifactRule] = Field(default_factory=list, max_length=100)
    reports: list[ReportPath] = Field(default_factory=list, max_length=20)
    limits: StepLimits | None = None
    requires: list[WorkerLabel] = Field(default_factory=list, max_length=MAX_LABELS)
    encrypted_fields: list[EncryptedField] = Field(default_factory=list, max_length=50)
    timeout_seconds: Seconds | None = None
    idempotent: bool = True


class AppSettings(PlanPart):
    """Of every run of the app."""

    timeout_seconds: Seconds | None = None
    """Of a whole run; None: no limit of its own."""
    max_retries: int = Field(0, ge=0, le=99)
    """How often a step that failed is tried again."""


class AppConfiguration(PlanPart):
    """What one version of an app does."""

    steps: list[AppStep] = Field(min_length=1, max_length=MAX_STEPS)
    description: str | None = Field(None, max_length=4096)
    settings: AppSettings = AppSettings()
    concurrency: Concurrency | None = None
    """This and the following as in a plan; a run may have a key of its own."""
    env: dict[str, str] = Field(default_factory=dict)
    sources: Sources = Field(default_factory=list)
    data: Table | ArtifactTable | None = None
    matrix: Matrix | None = None
    max_lanes: int = Field(7, ge=1, le=1000)


class AppVersion(PlanPart):
    """Body of `POST /v1/apps/{app}/versions`. A version never changes once it is stored."""

    version: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+\-]*$")
    configuration: AppConfiguration
    activate: bool = True
    """Runs that name no version are started from it from now on."""
    app_id: int | None = Field(None, ge=1, le=2**31)
    """None: the app's own, or the next free one for a new app."""
    sub_app_id: int | None = Field(None, ge=1, le=2**31)


class AppReference(PlanPart):
    """An app by name; without a version the active one."""

    name: Name
    sub_app: Name | None = None
    version: str | None = Field(None, min_length=1, max_length=64)

    @property
    def path(self) -> str:
        return self.name if self.sub_app is None else f"{self.name}/{self.sub_app}"


class AppSubmission(PlanPart):
    """Body of `POST /v1/executions` that names an app instead of bringing a plan."""

    app: AppReference
    inputs: dict[str, Any] = Field(default_factory=dict)
    labels: Labels = Field(default_factory=dict, max_length=64)
    metadata: dict[str, Any] = Field(default_factory=dict)
    priority: int = Field(0, ge=-100, le=100, strict=True)
    queue_timeout_seconds: Seconds | None = None
    concurrency: Concurrency | None = None
    """In place of the app's."""

    @model_validator(mode="before")
    @classmethod
    def _no_plan(cls, data: Any) -> Any:
        if isinstance(data, dict) and "plan" in data:
            raise ValueError("give exactly one of: plan, app")
        return data
