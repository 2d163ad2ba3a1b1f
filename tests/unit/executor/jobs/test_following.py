"""A job is followed turn by turn, whoever has the turn."""

import asyncio
import json
import time

import pytest

from services.executor.commands.base import Outcome, Suspended
from services.executor.commands.reach import JobState
from services.executor.jobs.following import Following, Job, Started, Stopped, within
from shared.errors import (
    Forbidden,
    NotFound,
    RateLimited,
    UpstreamInvalid,
    UpstreamUnavailable,
)
from tests.unit.executor.processes.contexts import a_context

RUNNING, DONE = JobState("running", "3 sets", 40.0), JobState("completed")


class Scripted(Job):
    """Answers each call with the next entry of its script; an exception is raised."""

    kind = "elsewhere"
    service = "Elsewhere"

    def __init__(self, *, starts=(), looks=(), collects=()):
        self.starts, self.looks, self.collects = list(starts), list(looks), list(collects)
        self.keys = []

    async def start(self, key):
        self.keys.append(key)
        return await self._next(self.starts, Started("j1", {"where": "there"}))

    async def look(self, id):
        assert id == "j1"
        return await self._next(self.looks, DONE)

    async def collect(self, id, state, facts):
        assert facts == {"where": "there"}
        return await self._next(self.collects, Outcome("completed", outputs={"id": id}))

    def wake_key(self, id):
        return f"elsewhere/{id}"

    async def _next(self, script, default):
        one = script.pop(0) if script else default
        if one == "hang":
            await asyncio.sleep(3600)
        if isinstance(one, Exception):
            raise one
        return one


class Memory:
    """What was remembered, as JSON."""

    def __init__(self):
        self.states = []

    async def __call__(self, state):
        self.states.append(json.loads(json.dumps(state)))


@pytest.fixture
def memory():
    return Memory()


async def turns(job, ctx, count=50, *, state=None, poll=5.0):
    """Suspensions and the outcome of so many turns, without the pauses."""
    seen = []
    for _ in range(count):
        following = Following(job, ctx, poll_seconds=poll)
        ended = await (following.begin() if state is None else following.go_on(state))
        seen.append(ended)
        if isinstance(ended, Outcome):
            break
        state = json.loads(json.dumps(ended.state))
    return seen


async def test_a_job_from_start_to_end(tmp_path, memory):
    ctx, printed = a_context(tmp_path, timeout=60, remember=memory, key="run/1")
    job = Scripted(looks=[RUNNING, RUNNING])
    *paused, end = await turns(job, ctx)
    assert end.outputs == {"id": "j1"}
    assert [one.wake_keys for one in paused] == [("elsewhere/j1",)] * 3
    known = {"kind": "elsewhere", "job": "j1", "where": "Elsewhere job j1"}
    assert [one.about for one in paused] == [
        known | {"status": "started"},
        *[known | {"status": "running", "progress": 40.0}] * 2,
    ]
    assert all(3.9 < one.seconds < 8 for one in paused)
    assert printed.stdout.splitlines() == [
        "started Elsewhere job j1",
        "Elsewhere: running, 40 %, 3 sets",
    ]


async def test_the_key_is_durable_before_the_start_and_the_id_before_the_waiting(tmp_path, memory):
    ctx, _ = a_context(tmp_path, timeout=60, remember=memory, key="run/1")
    job = Scripted(starts=[UpstreamUnavailable("away")])
    await turns(job, ctx, 2)
    before, after = memory.states
    assert (before["job"], after["job"]) == (None, "j1")
    assert job.keys == [before["key"]] * 2
    assert before["key"].startswith("run/1/")


@pytest.mark.breaks
async def test_whoever_takes_over_asks_under_the_same_key_or_follows_the_same_job(tmp_path, memory):
    ctx, _ = a_context(tmp_path, timeout=60, remember=memory, key="run/1")
    job = Scripted()
    await turns(job, ctx, 1)
    before, after = memory.states
    heir = Scripted()
    assert isinstance((await turns(heir, ctx, state=before))[-1], Outcome)
    assert heir.keys == [before["key"]]
    heir = Scripted()
    assert isinstance((await turns(heir, ctx, state=after))[-1], Outcome)
    assert heir.keys == []


async def test_a_state_of_another_version_is_understood(tmp_path):
    ctx, _ = a_context(tmp_path, timeout=60)
    old = {"key": "k", "job": "j1", "facts": {"where": "there"}, "of_the_future": 1}
    assert (await turns(Scripted(), ctx, state=old))[-1].status == "completed"


async def test_another_try_has_another_key(tmp_path):
    ctx, _ = a_context(tmp_path, timeout=60, key="run/1")
    job = Scripted()
    await turns(job, ctx)
    await turns(job, ctx)
    assert len(set(job.keys)) == 2


async def test_pauses_grow_to_a_minute_and_the_thousandth_is_no_longer(tmp_path):
    ctx, _ = a_context(tmp_path, timeout=60)
    state = {"key": "k", "job": "j1", "facts": {"where": "there"}}
    for looks, low, high in ((0, 4, 6.1), (5, 9, 18), (20, 48, 60.1), (10_000, 48, 60.1)):
        job = Scripted(looks=[RUNNING])
        (paused,) = await turns(job, ctx, 1, state=state | {"looks": looks})
        assert low <= paused.seconds <= high, looks


async def test_trouble_pauses_longer_and_longer_and_heeds_retry_after(tmp_path):
    ctx, printed = a_context(tmp_path, timeout=60)
    away = UpstreamUnavailable("it is away")
    looks = [away] * 4 + [RateLimited("slowly", retry_after=90.0)]
    job = Scripted(looks=looks)
    pauses = [one.seconds for one in (await turns(job, ctx))[1:-1]]
    assert [0.5 <= pauses[0] <= 1, 1 <= pauses[1] <= 2, 2 <= pauses[2] <= 4] == [True] * 3
    assert pauses[4] == 90.0
    assert printed.stdout.count("it is away; trying again") == 1, "said once"
    (paused,) = await turns(
        Scripted(looks=[away]), ctx, 1, state={"key": "k", "job": "j1", "failures": 5_000}
    )
    assert paused.seconds <= 60


@pytest.mark.parametrize(
    ("error", "reason"),
    [(NotFound("gone"), "job_forgotten"), (UpstreamInvalid("odd"), "unexpected_answer")],
)
async def test_strikes_count_only_in_a_row(tmp_path, error, reason):
    ctx, _ = a_context(tmp_path, timeout=60)
    job = Scripted(looks=[error, error, RUNNING, error, error])
    assert (await turns(job, ctx))[-1].status == "completed"
    job = Scripted(looks=[error] * 3)
    end = (await turns(job, ctx))[-1]
    assert (end.status, end.reason) == ("failed", reason)


async def test_a_refusal_ends_it_at_once(tmp_path):
    ctx, _ = a_context(tmp_path, timeout=60)
    refusal = Forbidden("Elsewhere answered 403", detail="not yours")
    for job in (Scripted(starts=[refusal]), Scripted(looks=[refusal])):
        end = (await turns(job, ctx))[-1]
        assert (end.reason, end.error) == (
            "upstream_refused",
            "Elsewhere answered 403: not yours",
        )


async def test_a_start_that_names_no_job(tmp_path):
    ctx, _ = a_context(tmp_path, timeout=60)
    (end,) = await turns(Scripted(starts=[UpstreamInvalid("no id")]), ctx)
    assert (end.reason, end.error) == ("unexpected_answer", "no id")


@pytest.mark.parametrize(("sent", "again"), [(True, False), (False, True)])
async def test_what_may_not_be_repeated_is_asked_for_again_only_if_it_never_arrived(
    tmp_path, sent, again
):
    ctx, _ = a_context(tmp_path, timeout=60, repeatable=False)
    job = Scripted(starts=[UpstreamUnavailable("away", sent=sent)])
    end = (await turns(job, ctx))[-1]
    assert (end.status, len(job.keys)) == (("completed", 2) if again else ("failed", 1))
    assert end.reason == (None if again else "upstream_failed")


@pytest.mark.parametrize(
    ("state", "status", "reason"),
    [
        ({}, "failed", "upstream_failed"),
        ({"job": "j1"}, "timed_out", "timeout"),
        ({"job": "j1", "failures": 2, "trouble": "it is away"}, "failed", "upstream_failed"),
    ],
)
async def test_the_end_of_time(tmp_path, state, status, reason):
    ctx, _ = a_context(tmp_path, timeout=0)
    (end,) = await turns(Scripted(), ctx, state={"key": "k", **state})
    assert (end.status, end.reason) == (status, reason)


async def test_a_cancel_is_heard_during_a_call_that_hangs(tmp_path):
    ctx, printed = a_context(tmp_path, timeout=60)
    asyncio.get_running_loop().call_later(0.05, ctx.cancel.set)
    (end,) = await asyncio.wait_for(turns(Scripted(starts=["hang"]), ctx), 10)
    assert end.status == "cancelled"
    assert "it may run there" in printed.stdout


async def test_what_is_told_is_redacted(tmp_path):
    from shared.security.redaction import Redactor

    ctx, printed = a_context(tmp_path, timeout=60, redactor=Redactor(["hidden-thing"]))
    looks = [JobState("running", "with hidden-thing"), UpstreamUnavailable("no hidden-thing")]
    paused = await turns(Scripted(looks=looks), ctx)
    assert printed.stdout.count("[redacted]") == 2
    assert "hidden-thing" not in printed.stdout
    assert not any("hidden-thing" in json.dumps(one.state) for one in paused[:-1])


async def test_an_error_of_ours_is_not_swallowed(tmp_path):
    ctx, _ = a_context(tmp_path, timeout=60)
    with pytest.raises(ZeroDivisionError):
        await turns(Scripted(looks=[ZeroDivisionError()]), ctx)


async def test_within_ends_the_call_that_it_leaves(tmp_path):
    ctx, _ = a_context(tmp_path, timeout=0.05)
    ended = asyncio.Event()

    async def call():
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    begun = time.monotonic()
    with pytest.raises(Stopped):
        await within(ctx, call())
    assert ended.is_set()
    assert time.monotonic() - begun < 30


async def test_a_suspension_is_not_empty(tmp_path):
    ctx, _ = a_context(tmp_path, timeout=60)
    (paused,) = await turns(Scripted(), ctx, 1)
    assert isinstance(paused, Suspended)
    assert paused.seconds > 0
    assert len(json.dumps(paused.state)) < 2_000
