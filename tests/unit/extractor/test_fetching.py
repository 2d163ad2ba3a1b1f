import pytest

from services.extractor.errors import AccessDenied, ExecutionMissing, InconsistentAnswer
from services.extractor.fetching import Fetcher
from services.extractor.models import Answer
from shared.clock import SystemClock
from tests.builders.extractions import a_customer, an_answer, sample


class Upstream:
    def __init__(self, **answers):
        self.calls = []
        self.answers = {
            "execution-88715": an_answer("execution-88715", sample("execution-88715")),
            "journey-527211": an_answer("journey-527211", sample("journey-527211")),
            "goal-9640": an_answer("goal-9640", sample("goal-")["goal"]),
            "environments-5120": an_answer("environments-5120", {"environments": []}),
        } | {answer.call: answer for answer in answers.values()}

    async def _get(self, call):
        self.calls.append(call)
        return self.answers[call]

    async def execution(self, _access, execution_id):
        return await self._get(f"execution-{execution_id}")

    async def journey(self, _access, journey_id):
        return await self._get(f"journey-{journey_id}")

    async def goal(self, _access, goal_id):
        return await self._get(f"goal-{goal_id}")

    async def environments(self, _access, project_id):
        return await self._get(f"environments-{project_id}")


class StillClock(SystemClock):
    time = 0.0

    def monotonic(self):
        return self.time


async def fetched(upstream, clock=None, fetcher=None):
    fetcher = fetcher or Fetcher(upstream, clock=clock or StillClock(), cache_seconds=60)
    execution = await fetcher.execution(a_customer(), 88715)
    return await fetcher.bundle(a_customer(), execution)


async def test_environments_are_asked_for_once_while_they_are_believed():
    upstream, clock = Upstream(), StillClock()
    fetcher = Fetcher(upstream, clock=clock, cache_seconds=60)
    for _ in range(3):
        await fetched(upstream, fetcher=fetcher)
    assert upstream.calls.count("environments-5120") == 1
    assert upstream.calls.count("execution-88715") == 3
    clock.time = 61
    await fetched(upstream, fetcher=fetcher)
    assert upstream.calls.count("environments-5120") == 2


async def test_denied_environments_are_asked_for_again():
    upstream = Upstream(environments=Answer("environments-5120", "denied"))
    fetcher = Fetcher(upstream, clock=StillClock(), cache_seconds=60)
    for _ in range(2):
        bundle = await fetched(upstream, fetcher=fetcher)
        assert bundle.environments.status == "denied"
    assert upstream.calls.count("environments-5120") == 2


async def test_customers_do_not_share_what_is_remembered():
    upstream = Upstream()
    fetcher = Fetcher(upstream, clock=StillClock(), cache_seconds=60)
    for customer in (a_customer(), a_customer(tenant="other"), a_customer(id="002")):
        await fetcher.bundle(customer, upstream.answers["execution-88715"])
    assert upstream.calls.count("environments-5120") == 3


async def test_missing_parts_are_named():
    bundle = await fetched(Upstream(journey=Answer("journey-527211", "missing")))
    assert bundle.incomplete() == ["journey-527211:missing"]
    bundle = await fetched(Upstream(goal=Answer("goal-9640", "denied")))
    assert bundle.incomplete() == ["goal-9640:denied"]
    assert bundle.environments is None


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer("execution-88715", "denied"), AccessDenied),
        (Answer("execution-88715", "missing"), ExecutionMissing),
        (an_answer("execution-88715", {"id": 1}), InconsistentAnswer),
        (an_answer("execution-88715", []), InconsistentAnswer),
        (an_answer("journey-527211", []), InconsistentAnswer),
    ],
)
async def test_what_cannot_be_an_execution(answer, error):
    with pytest.raises(error):
        await fetched(Upstream(answer=answer))
