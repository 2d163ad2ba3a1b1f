"""A goal of Virtuoso, executed through our proxy."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from services.executor.commands.base import (
    Command,
    CommandContext,
    Outcome,
    Params,
    Suspended,
    failed,
)
from services.executor.commands.reach import JobState, VirtuosoGoal, VirtuosoRunner
from services.executor.jobs.ending import outcome_of
from services.executor.jobs.following import Following, Job, Started, tell
from services.executor.jobs.keeping import keep_answer
from services.executor.jobs.report import natural, short
from services.executor.virtuoso.results import journeys_of, report_of
from shared.errors import CadenzaError, TransientError

Id = Annotated[int, Field(ge=1, lt=2**53)]
Customer = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_\-]{0,63}$")]
AT_ONCE = 8
"""Trees of journeys that are read at the same time."""


class VirtuosoParams(Params):
    """Execute a goal of Virtuoso."""

    customer: Customer
    """Whose Virtuoso it is, as the webhook names it (`customerId`)."""
    goal: Id
    """Id of the goal."""
    snapshot: Id | None = None
    """Version of the goal; none: the newest."""
    environment: Id | None = None
    """Id of the environment; none: the goal's own."""
    journeys: list[Id] = Field(default_factory=list, max_length=1000)
    """Only these journeys; empty: all."""
    tags: list[str] = Field(default_factory=list, max_length=100)
    """Only journeys with one of these tags."""
    initial_data: dict[str, str] = Field(default_factory=dict, max_length=1000)
    """Values of the journeys' variables for this execution."""
    starting_url: str | None = Field(None, pattern=r"^https?://")
    """Where the journeys begin, instead of the goal's address."""
    poll_seconds: float = Field(5.0, gt=0, le=300)
    """Between the first two looks at the execution; the pauses grow to a minute."""

    def body(self) -> dict[str, Any]:
        """What Virtuoso is sent."""
        body = {
            "environmentId": self.environment,
            "suiteIds": self.journeys,
            "tags": self.tags,
            "initialData": self.initial_data,
            "startingUrl": self.starting_url,
        }
        return {name: value for name, value in body.items() if value}


class VirtuosoJob(Job):
    """One execution."""

    kind = "virtuoso"
    service = "Virtuoso"

    def __init__(self, port: VirtuosoRunner, params: VirtuosoParams, ctx: CommandContext) -> None:
        self._port = port
        self._params = params
        self._ctx = ctx

    async def start(self, key: str) -> Started:  # noqa: ARG002 - Virtuoso knows no such keys
        goal = await self._goal()
        snapshot = self._params.snapshot or goal.snapshot
        execution = await self._port.execute(self._params.goal, snapshot, self._params.body())
        project = f"{self._port.ui}/#/project/{goal.project}" if goal.project else None
        link = f"{project}/execution/{execution}" if project else None
        return Started(str(execution), {"link": link, "snapshot": snapshot})

    async def _goal(self) -> VirtuosoGoal:
        try:
            return await self._port.goal(self._params.goal)
        except TransientError as error:
            error.context = {**error.context, "sent": False}  # nothing was started by looking
            raise

    async def look(self, id: str) -> JobState:
        return await self._port.status(int(id))

    async def collect(self, id: str, state: JobState, facts: Mapping[str, Any]) -> Outcome:
        execution = await self._port.execution(int(id))
        link = facts.get("link")
        trees = await self._trees(journeys_of(execution))
        report = report_of(execution, trees, link=link)
        await tell(self._ctx, report)
        await keep_answer(self._ctx, f"virtuoso-{id}.json", execution)
        outputs = {
            "execution_id": int(id),
            "customer": self._params.customer,
            "goal_id": self._params.goal,
            "snapshot_id": facts.get("snapshot"),
            "outcome": short(execution.get("outcome")),
            "duration_ms": natural(execution.get("duration")),
            **({"link": link} if link else {}),
        }
        return outcome_of(state, report, service=self.service, outputs=outputs)

    async def _trees(self, journeys: list[int]) -> dict[int, Mapping[str, Any]]:
        """Only names depend on them: those that cannot be had are left out."""
        room = asyncio.Semaphore(AT_ONCE)

        async def tree(id: int) -> tuple[int, Mapping[str, Any]]:
            async with room:
                try:
                    return id, await self._port.journey(id)
                except CadenzaError:
                    return id, {}

        return dict(await asyncio.gather(*map(tree, journeys)))

    def wake_key(self, id: str) -> str:
        return f"virtuoso/{self._params.customer}/{id}"

    def where(self, id: str, facts: Mapping[str, Any]) -> str:
        link = facts.get("link")
        return f"execution {id} of goal {self._params.goal}" + (f", {link}" if link else "")


class VirtuosoCommand(Command[VirtuosoParams]):
    """Waits for the execution; `failed(assertion_failed)` when a journey failed. A cancel leaves it running there."""

    type = "virtuoso"
    params = VirtuosoParams

    async def run(self, params: VirtuosoParams, ctx: CommandContext) -> Outcome | Suspended:
        following = _following(params, ctx)
        return await following.begin() if isinstance(following, Following) else following

    async def resume(
        self, params: VirtuosoParams, ctx: CommandContext, state: Mapping[str, Any]
    ) -> Outcome | Suspended:
        following = _following(params, ctx)
        return await following.go_on(state) if isinstance(following, Following) else following


def _following(params: VirtuosoParams, ctx: CommandContext) -> Following | Outcome:
    port = (ctx.reach.virtuoso or {}).get(ctx.tenant or "")
    if port is None:
        return failed(
            "not_available",
            "this executor may not use the proxy for this tenant (EXECUTOR__PROXY_URL, EXECUTOR__PROXY_KEYS)",
        )
    return Following(VirtuosoJob(port, params, ctx), ctx, poll_seconds=params.poll_seconds)
