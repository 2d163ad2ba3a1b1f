"""The Virtuoso client against the simulator on a port: what is an answer, what is tried again, what comes out."""

import pytest
from pydantic import SecretStr

from sandbox.virtuoso.faults import Faults
from sandbox.virtuoso.server import Simulator
from services.extractor.clients.virtuoso import VirtuosoClient, opened
from services.extractor.errors import UnreadableAnswer
from services.extractor.models import Access
from services.extractor.settings import ExtractorGroup
from shared.errors import InvalidRequest, RateLimited, TooLarge, UpstreamUnavailable
from shared.retry import RetryPolicy
from tests.builders.extractions import FastClock

PATH = "/executions/88715"
AT_ONCE = RetryPolicy(max_attempts=1_000, initial_delay=0.5, factor=2, max_delay=30, jitter=0)


@pytest.fixture
async def simulator():
    simulator = Simulator()
    await simulator.start()
    yield simulator
    await simulator.stop()


@pytest.fixture
def clock():
    return FastClock()


@pytest.fixture
async def client(clock):
    group = ExtractorGroup(retry_budget_seconds=60, request_timeout_seconds=0.5)
    client = VirtuosoClient(group, clock=clock, retries=AT_ONCE)
    await client.start()
    yield client
    await client.stop()


def access(simulator, token="sandbox-token"):
    return Access(simulator.url, SecretStr(token), SecretStr("session-1"))


def script(simulator, *faults):
    simulator.app.state.faults.set(Faults(script=[{"path": PATH, **fault} for fault in faults]))


async def test_answers_are_opened_and_their_bytes_kept(simulator, client):
    place = access(simulator)
    execution = await client.execution(place, 88715)
    assert (execution.status, execution.item["id"]) == ("ok", 88715)
    assert execution.body.startswith(b'{"success":true,"item":{"id":88715')
    journey = await client.journey(place, 527211)
    assert journey.item["name"] == "Suite 18"
    assert journey.body.startswith(b'{"id":527211')
    assert (await client.goal(place, 9640)).item["projectId"] == 5120
    environments = await client.environments(place, 5120)
    assert len(environments.item["environments"]) == 2


async def test_refusals_are_answers_and_not_repeated(simulator, client, clock):
    assert (await client.execution(access(simulator), 1)).status == "missing"
    assert (await client.execution(access(simulator, "wrong"), 88715)).status == "denied"
    script(simulator, {"status": 403})
    assert (await client.execution(access(simulator), 88715)).status == "denied"
    assert clock.slept == []


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429},
        {"status": 500},
        {"status": 502},
        {"status": 503},
        {"status": 504},
        {"kind": "html"},
        {"kind": "drop"},
        {"kind": "hang"},
    ],
    ids=lambda fault: str(next(iter(fault.values()))),
)
async def test_passing_trouble_is_tried_again(simulator, client, clock, fault):
    script(simulator, fault | {"times": 2})
    assert (await client.execution(access(simulator), 88715)).ok
    assert clock.slept == [0.5, 1.0]


async def test_it_never_comes_back_sooner_than_it_was_told(simulator, client, clock):
    script(simulator, {"status": 429, "retry_after": "17"}, {"status": 503, "retry_after": "3"})
    assert (await client.execution(access(simulator), 88715)).ok
    assert clock.slept == [17.0, 3.0]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"status": 429}, RateLimited),
        ({"status": 500}, UpstreamUnavailable),
        ({"kind": "drop"}, UpstreamUnavailable),
        ({"kind": "html"}, UnreadableAnswer),
    ],
)
async def test_trouble_that_stays_comes_out_when_the_budget_is_used_up(
    simulator, client, clock, fault, error
):
    script(simulator, fault | {"times": 10_000})
    with pytest.raises(error):
        await client.execution(access(simulator), 88715)
    assert 30 <= sum(clock.slept) <= 60


async def test_a_pause_longer_than_the_budget_is_not_begun(simulator, client, clock):
    script(simulator, {"status": 429, "retry_after": "3600"})
    with pytest.raises(RateLimited):
        await client.execution(access(simulator), 88715)
    assert clock.slept == []


async def test_other_refusals_come_out_at_once(simulator, client, clock):
    script(simulator, {"status": 400})
    with pytest.raises(InvalidRequest):
        await client.execution(access(simulator), 88715)
    assert clock.slept == []


async def test_nobody_there(client, clock):
    nowhere = Access("http://127.0.0.1:9/api", SecretStr("x"))
    with pytest.raises(UpstreamUnavailable):
        await client.execution(nowhere, 1)
    assert len(clock.slept) > 3


async def test_an_answer_that_is_too_long_is_given_up(simulator, clock):
    client = VirtuosoClient(ExtractorGroup(max_answer_bytes=1024), clock=clock)
    with pytest.raises(TooLarge):
        await client.execution(access(simulator), 88715)
    await client.stop()


@pytest.mark.parametrize(
    "body",
    [b"", b"Not Found", b"<html>", b'{"success": tr', b"null", b'"text"', b"7", b"[" * 100_000,
     b'{"success": false, "error": {}}', b'{"success": true}', b'{"success": true, "item": null}',
     b'{"a": NaN}', b"\xff\xfe{}"],
)  # fmt: skip
def test_what_is_no_answer(body):
    with pytest.raises(UnreadableAnswer):
        opened(body, "application/json")


def test_what_is_an_answer():
    assert opened(b'{"id": 1}', "") == {"id": 1}
    assert opened(b'{"success": true, "items": [1]}', "") == [1]
    assert opened(b'{"success": true, "item": {"a": 2}}', "") == {"a": 2}
