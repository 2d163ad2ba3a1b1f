"""All answers about one execution in as few rounds as possible: two when the customer is known, three at first.

Round one is the execution. Round two: its journeys, its goal and, where the goal's project is known, the environments.
A goal never moves to another project, so that is remembered; environments are believed for a while.
"""

import asyncio
from collections import OrderedDict
from typing import Any

from services.extractor.errors import AccessDenied, ExecutionMissing, InconsistentAnswer
from services.extractor.lake.moments import whole
from services.extractor.models import Answer, Bundle, Customer, Json
from services.extractor.ports import Source
from shared.clock import Clock

RUNNING = frozenset({"RUNNING", "QUEUED", "PENDING", "SUBMITTED", "SCHEDULED", "DISPATCHED"})
REMEMBERED = 10_000


class Fetcher:
    """Asks Virtuoso; remembers what may be remembered."""

    def __init__(self, source: Source, *, clock: Clock, cache_seconds: float) -> None:
        self._source = source
        self._clock = clock
        self._cache_seconds = cache_seconds
        self._projects: OrderedDict[tuple[str, str, int], int] = OrderedDict()
        self._environments: OrderedDict[tuple[str, str, int], tuple[float, Answer]] = OrderedDict()

    async def execution(self, customer: Customer, execution_id: int) -> Answer:
        """The execution itself, finished or not. Raises AccessDenied, ExecutionMissing, InconsistentAnswer."""
        answer = await self._source.execution(customer.access, execution_id)
        match answer.status:
            case "denied":
                raise AccessDenied
            case "missing":
                raise ExecutionMissing
        if not isinstance(answer.item, dict) or whole(answer.item.get("id")) != execution_id:
            raise InconsistentAnswer("the answer is not the execution that was asked for")
        return answer

    async def bundle(self, customer: Customer, execution: Answer) -> Bundle:
        """Everything around a finished execution."""
        goal_id = whole(execution.item.get("goalId"))
        project = self._projects.get((customer.tenant, customer.id, goal_id or 0))
        journeys, goal, environments = await asyncio.gather(
            self._journeys(customer, journey_ids(execution.item)),
            self._goal(customer, goal_id),
            self._project_environments(customer, project),
        )
        if project is None and goal is not None and goal.ok:
            project = whole(goal.item.get("projectId"))
            environments = await self._project_environments(customer, project)
            if project is not None and goal_id is not None:
                _remember(self._projects, (customer.tenant, customer.id, goal_id), project)
        return Bundle(execution, journeys, goal, environments)

    async def _journeys(self, customer: Customer, ids: list[int]) -> dict[int, Answer]:
        answers = await asyncio.gather(
            *(self._source.journey(customer.access, journey_id) for journey_id in ids)
        )
        for answer in answers:
            _must_be_object(answer)
        return dict(zip(ids, answers, strict=True))

    async def _goal(self, customer: Customer, goal_id: int | None) -> Answer | None:
        if goal_id is None:
            return None
        answer = await self._source.goal(customer.access, goal_id)
        _must_be_object(answer)
        return answer

    async def _project_environments(self, customer: Customer, project: int | None) -> Answer | None:
        if project is None:
            return None
        key = (customer.tenant, customer.id, project)
        known = self._environments.get(key)
        if known is not None and self._clock.monotonic() < known[0]:
            return known[1]
        answer = await self._source.environments(customer.access, project)
        if answer.ok:
            until = self._clock.monotonic() + self._cache_seconds
            _remember(self._environments, key, (until, answer))
        return answer


def finished(execution: Json) -> bool:
    """True when nothing of it will change any more of itself."""
    return (
        str(execution.get("status")).upper() not in RUNNING and execution.get("endDate") is not None
    )


def journey_ids(execution: Json) -> list[int]:
    """The journeys that the execution names, in its order, each once; those of its tree where it names none."""
    named: Any = (
        (execution.get("meta") or {}).get("testSuiteIds") or execution.get("testSuites") or []
    )
    ids = [whole(one) for one in named]
    return list(dict.fromkeys(one for one in ids if one is not None))


def _must_be_object(answer: Answer) -> None:
    if answer.ok and not isinstance(answer.item, dict):
        raise InconsistentAnswer(f"the answer to {answer.call} is no object")


def _remember(cache: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    cache[key] = value
    cache.move_to_end(key)
    while len(cache) > REMEMBERED:
        cache.popitem(last=False)
