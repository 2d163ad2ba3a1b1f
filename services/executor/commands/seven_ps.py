"""Test sets of a release, in 7PS or, where the executor is set so, on the executor itself."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints
from pydantic.config import JsonDict

from services.executor.commands.base import (
    Command,
    CommandContext,
    Outcome,
    Params,
    Suspended,
    failed,
)
from services.executor.commands.reach import JobState, SevenPs
from services.executor.jobs.ending import outcome_of
from services.executor.jobs.following import Following, Job, Started, tell
from services.executor.jobs.keeping import keep_answer
from services.executor.seven_ps import request
from services.executor.seven_ps.lanes import run_here
from services.executor.seven_ps.request import Order, Set, TestType
from services.executor.seven_ps.results import report_of
from shared.errors import NotFound, UpstreamInvalid
from shared.security.redaction import MASK

NotBlank = Annotated[str, StringConstraints(pattern=r"\S")]
RAW = "seven-ps-results.json"
NAME = r"^(?!CADENZA_)[A-Za-z_][A-Za-z0-9_]*$"
"""Of a variable; those with our prefix are the platform's to set."""
OPEN: JsonDict = {
    "propertyNames": {"pattern": NAME},
    "additionalProperties": {"type": "string", "not": {"pattern": r"\$\{\{\s*secrets\."}},
}
SECRET: JsonDict = {
    "propertyNames": {"pattern": NAME},
    "additionalProperties": {
        "type": "string",
        "pattern": r"^\s*\$\{\{\s*secrets\.[A-Za-z0-9_\-]+\s*\}\}\s*$",
        "not": {"pattern": r"\$\{\{\s*(inputs?|steps)\."},
    },
}
"""How values are written in a plan: of secrets only the reference, of others no secret."""


def _names(values: dict[str, str]) -> dict[str, str]:
    """Names that a process may find in its environment."""
    if wrong := [name for name in values if not re.fullmatch(NAME, name)]:
        raise ValueError(f"'{wrong[0]}' is no name of a variable")
    return values


Variables = Annotated[
    dict[str, str], Field(max_length=200, json_schema_extra=OPEN), AfterValidator(_names)
]


class SetParams(Params):
    """One test set."""

    id: NotBlank
    """`TEST_SET_ID`."""
    name: str = ""
    """For people; empty: the id."""
    commands: list[NotBlank] = Field(list(request.COMMANDS), min_length=1, max_length=100)
    """What installs and runs it; the last one runs the tests."""
    working_directory: str = "."
    """Inside the repository; where sets run on the executor, inside the run's working directory."""
    artifacts: list[str] = Field(default_factory=list, max_length=100)
    """Places that 7PS keeps."""
    disabled: bool = False
    """Leave it out."""
    args: Variables = Field(default_factory=dict)
    """Variables of this set alone."""


class SevenPsParams(Params):
    """Run test sets of a release with 7PS."""

    release: NotBlank
    """`RELEASE_ID`."""
    environment: NotBlank
    """Name of the environment, such as `qa`."""
    test_sets: list[SetParams] = Field(min_length=1, max_length=500)
    """The sets to run, one job of 7PS together. Each has an `id` (`TEST_SET_ID`) and may have `name`, `commands` (what
    installs and runs it), `working_directory`, `artifacts`, `disabled`, and `args` of its own."""
    args: Variables = Field(json_schema_extra={**OPEN, "required": list(request.ARGUMENTS)})
    """Variables of the sets: `BASE_URL`, `DB_HOST`, `DB_NAME`, `DB_PORT` and others."""
    secrets: Variables = Field(json_schema_extra={**SECRET, "required": list(request.SECRETS)})
    """`DB_USER`, `DB_PASSWORD` and others, each as a reference `${{ secrets.NAME }}`."""
    test_type: TestType = "live_dependency_tests"
    """What the sets are run against."""
    name: NotBlank = "cadenza"
    """Name of the suite."""
    asv: str = ""
    """Identifier of the application, in 7PS's words."""
    ba: str = ""
    """Business application."""
    component: str = ""
    """Component under test."""
    owner: str = ""
    """Who answers for it."""
    repo_url: str = ""
    """The repository with the suites."""
    repo_path: str = "."
    """Folder of the suites in it."""
    repo_branch: str = "main"
    """Branch of it."""
    commit_sha: str = ""
    """Commit under test."""
    build_id: str = ""
    """Build under test."""
    artifact_id: str = ""
    """Artifact under test."""
    poll_seconds: float = Field(5.0, gt=0, le=300)
    """Between the first two looks at the job; the pauses grow to a minute."""

    def order(self) -> Order:
        """What is asked for, with secrets in it."""
        return Order(
            test_type=self.test_type,
            environment=self.environment.strip().lower(),
            release=self.release,
            sets=[
                Set(
                    id=one.id,
                    name=one.name or one.id,
                    commands=one.commands,
                    working_directory=one.working_directory,
                    artifacts=one.artifacts,
                    disabled=one.disabled,
                    args=one.args,
                )
                for one in self.test_sets
            ],
            args=self.args,
            secrets=self.secrets,
            suite={key: getattr(self, key) for key in ("name", "asv", "ba", "component", "owner")},
            repo_url=self.repo_url,
            repo_path=self.repo_path,
            repo_branch=self.repo_branch,
            commit_sha=self.commit_sha,
            build_id=self.build_id,
            artifact_id=self.artifact_id,
        )


class SevenPsJob(Job):
    """One job of 7PS."""

    kind = "seven_ps"
    service = "7PS"

    def __init__(self, port: SevenPs, order: Order, ctx: CommandContext) -> None:
        self._port = port
        self._order = order
        self._ctx = ctx

    async def start(self, key: str) -> Started:
        return Started(await self._port.execute(request.build(self._order), key=key))

    async def look(self, id: str) -> JobState:
        return await self._port.status(id)

    async def collect(self, id: str, state: JobState, facts: Mapping[str, Any]) -> Outcome:  # noqa: ARG002
        outputs = {"mode": "external", "job_id": id}
        try:
            raw = await self._port.results(id)
        except NotFound:
            if state.status == "completed":
                raise UpstreamInvalid("7PS completed the job and has no results of it") from None
            return outcome_of(state, None, service=self.service, outputs=outputs)
        await keep_answer(self._ctx, RAW, raw)
        report = report_of(raw)
        await tell(self._ctx, report)
        return outcome_of(state, report, service=self.service, outputs=outputs)

    def wake_key(self, id: str) -> str:
        return f"seven_ps/{id}"


class SevenPsCommand(Command[SevenPsParams]):
    """Waits for a job of 7PS, or runs the sets on this executor; `failed(assertion_failed)` when a scenario failed."""

    type = "seven_ps"
    params = SevenPsParams

    async def run(self, params: SevenPsParams, ctx: CommandContext) -> Outcome | Suspended:
        if wrong := _wrong(params, ctx):
            return wrong
        if ctx.reach.seven_ps_lanes is not None:
            return await run_here(params.order(), ctx, ctx.reach.seven_ps_lanes)
        if ctx.reach.seven_ps is None:
            return failed("not_available", "this executor knows no 7PS (EXECUTOR__SEVEN_PS_URL)")
        return await self._following(ctx.reach.seven_ps, params, ctx).begin()

    async def resume(
        self, params: SevenPsParams, ctx: CommandContext, state: Mapping[str, Any]
    ) -> Outcome | Suspended:
        if ctx.reach.seven_ps is None:
            return failed("not_available", "this executor knows no 7PS (EXECUTOR__SEVEN_PS_URL)")
        return await self._following(ctx.reach.seven_ps, params, ctx).go_on(state)

    def _following(self, port: SevenPs, params: SevenPsParams, ctx: CommandContext) -> Following:
        job = SevenPsJob(port, params.order(), ctx)
        return Following(job, ctx, poll_seconds=params.poll_seconds)


def _wrong(params: SevenPsParams, ctx: CommandContext) -> Outcome | None:
    """What only shows once references have values."""
    if names := request.missing(params.order()):
        return failed("invalid_arguments", f"no value for {', '.join(names)}")
    ids = [one.id for one in params.test_sets]
    if twice := next((one for one in ids if ids.count(one) > 1), None):
        return failed("invalid_arguments", f"test_sets: the id '{twice}' stands there twice")
    for name, value in params.secrets.items():
        if value and _masked(value, ctx) != MASK:
            return failed(
                "invalid_arguments", f"secrets.{name}: write a reference ${{{{ secrets.NAME }}}}"
            )
    return None


def _masked(value: str, ctx: CommandContext) -> str:
    """With the values of the step's secrets masked, and nothing that merely looks like one."""
    return ctx.redactor.mask_known(value.encode(errors="surrogatepass")).decode(errors="replace")
