"""Steps that suspend themselves: what becomes durable, when the run is put aside, how it goes on."""

import asyncio
from datetime import timedelta

from services.executor.commands.base import Command, Outcome, Params, Suspended, completed
from services.executor.commands.registry import build_registry
from services.executor.models import StepMemory, StepRecord
from shared.clock import SystemClock
from shared.registry import Registry
from shared.work.memory import MemoryWork
from tests.builders.runs import a_plan, a_step
from tests.builders.work import queue
from tests.unit.executor.bench import Bench, shell


class JobParams(Params):
    """Wait for a job elsewhere."""

    seconds: float = 3600
    linger: float = 0
    begins: bool = False
    """Remember the job before it is waited for."""


class Job(Command[JobParams]):
    """Ends when it has heard something, is cancelled, or late."""

    type = "job"
    uses_files = False
    params = JobParams

    def __init__(self):
        self.begun = 0

    async def run(self, params, ctx):
        self.begun += 1
        if params.begins:
            await ctx.remember({"job": 7})
        await ctx.emit("stdout", "begun\n")
        return self._wait(params)

    async def resume(self, params, ctx, state):
        assert state == {"job": 7}
        if ctx.heard:
            return completed({"heard": [dict(one) for one in ctx.heard]})
        if ctx.cancel.is_set():
            return Outcome("cancelled", "cancelled")
        if ctx.deadline is not None and ctx.deadline <= asyncio.get_running_loop().time():
            return Outcome("timed_out", "timeout")
        return self._wait(params)

    def _wait(self, params):
        return Suspended(
            {"job": 7},
            seconds=params.seconds,
            wake_keys=("job/7",),
            linger_seconds=params.linger,
            about={"kind": "job"},
        )


class Waits(Bench):
    """A bench with that command and with wakes."""

    def __init__(self, tmp_path, **parts):
        self.job = Job()
        self.wakes = MemoryWork(queue(), owner="one").wakes
        commands = [(one.type, one) for one in (*build_registry(), self.job)]
        super().__init__(tmp_path, **{"wakes": self.wakes, **parts})
        object.__setattr__(self.parts, "commands", Registry("command type", commands))

    async def begin(self, *steps, **plan):
        await self.workspace.start()
        return asyncio.create_task(self.executor.run(self.claim(a_plan(*steps, **plan))))


def job(name="job", **arguments):
    return a_step(name, command={"type": "job", **arguments})


async def put_through(bench, monkeypatch, *steps, **plan):
    monkeypatch.setattr("services.executor.service.validate_plan", _unchecked)
    return await bench.run(*steps, **plan)


def _unchecked(raw, **_):
    from shared.plans.plan import Plan

    return Plan.model_validate(raw)


async def test_a_run_whose_steps_all_wait_is_put_aside(tmp_path, monkeypatch):
    bench = Waits(tmp_path)
    journal = await put_through(bench, monkeypatch, job(), shell("true", "after"))
    assert journal.ended is None
    assert list(journal.put_aside.wake_keys) == ["job/7"]
    assert list(journal.put_aside.steps) == ["job"]
    left = journal.put_aside.wake_at - SystemClock().now()
    assert timedelta(seconds=20) < left <= timedelta(seconds=30), "the step's own timeout"
    attempt, memory = journal.memories[1]
    assert (attempt, memory.state) == ("1.1", {"job": 7})
    assert journal.waiting_for[1].about == {"kind": "job"}
    assert journal.text_of("job") == "begun\n", "its lines are stored before"
    assert not bench.wakes.tell("job/7", tenant="acme"), "nobody listens here any more"
    assert bench.parts.room._value == 20


async def test_it_goes_on_where_it_was_and_hears_what_came_meanwhile(tmp_path, monkeypatch):
    bench = Waits(tmp_path)
    await bench.wakes.wake("job/7", tenant="acme", payload={"n": 1}, id="w1")
    bench.journal.epoch = 3
    memory = StepMemory({"job": 7}, None, ("job/7",), ())
    record = StepRecord(1, "job", "running", started=True, attempt="1.1", memory=memory)
    bench.journal.records = [record]
    journal = await put_through(bench, monkeypatch, {**job(), "idempotent": False})
    assert journal.ended.status == "completed"
    assert bench.job.begun == 0
    assert journal.end_of("job").output == {"heard": [{"n": 1}]}
    assert [entry[0] for entry in journal.story] == ["finished"]


async def test_what_was_heard_is_not_heard_again(tmp_path, monkeypatch):
    bench = Waits(tmp_path)
    await bench.wakes.wake("job/7", tenant="acme", id="w1")
    memory = StepMemory({"job": 7}, None, ("job/7",), ("w1",))
    bench.journal.records = [
        StepRecord(1, "job", "running", started=True, attempt="1.1", memory=memory)
    ]
    journal = await put_through(bench, monkeypatch, job())
    assert (journal.ended, list(journal.put_aside.heard)) == (None, ["w1"])


async def test_a_lost_worker_of_a_step_that_may_not_run_twice_is_replaced(tmp_path, monkeypatch):
    bench = Waits(tmp_path)
    step = {**job(begins=True, linger=30), "idempotent": False}
    monkeypatch.setattr("services.executor.service.validate_plan", _unchecked)
    task = await bench.begin(step)
    while 1 not in bench.journal.memories:
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    attempt, memory = bench.journal.memories[1]
    bench.journal.records = [
        StepRecord(1, "job", "running", started=True, attempt=attempt, memory=memory)
    ]
    await bench.wakes.wake("job/7", tenant="acme", payload={"n": 2})
    await bench.executor.run(bench.claim(a_plan(step)))
    assert bench.journal.ended.status == "completed"
    assert bench.job.begun == 1


async def test_while_something_else_runs_it_waits_here_and_is_rung(tmp_path, monkeypatch):
    bench = Waits(tmp_path)
    monkeypatch.setattr("services.executor.service.validate_plan", _unchecked)
    task = await bench.begin(
        job(), shell("sleep 5", "beside"), strategy={"type": "parallel", "max_concurrency": None}
    )
    while 1 not in bench.journal.memories:
        await asyncio.sleep(0.01)
    await bench.wakes.wake("job/7", tenant="acme", payload={"n": 3})
    while 1 not in bench.journal.ends:
        await asyncio.sleep(0.01)
    assert 2 not in bench.journal.ends
    bench.executor.cancel("0197-run", {"reason": "enough"})
    await asyncio.wait_for(task, 10)
    assert bench.journal.put_aside is None


async def test_a_cancel_reaches_a_step_that_waits_here(tmp_path, monkeypatch):
    bench = Waits(tmp_path)
    monkeypatch.setattr("services.executor.service.validate_plan", _unchecked)
    task = await bench.begin(job(linger=60))
    while 1 not in bench.journal.memories:
        await asyncio.sleep(0.01)
    bench.executor.cancel("0197-run", {"reason": "enough"})
    await asyncio.wait_for(task, 10)
    assert (bench.journal.ended.status, bench.journal.end_of("job").status) == (
        "cancelled",
        "cancelled",
    )


async def test_its_time_goes_on_while_it_waits(tmp_path, monkeypatch):
    bench = Waits(tmp_path)
    past = SystemClock().now() - timedelta(seconds=1)
    bench.journal.records = [
        StepRecord(
            1,
            "job",
            "running",
            started=True,
            attempt="1.1",
            memory=StepMemory({"job": 7}, past, ("job/7",), ()),
        )
    ]
    journal = await put_through(bench, monkeypatch, job())
    assert journal.end_of("job").reason == "timeout"


async def test_a_long_wait_for_the_next_try_puts_the_run_aside(tmp_path):
    bench = Waits(tmp_path, rest_after=0.2)
    retry = {"max_attempts": 2, "initial_delay_seconds": 60}
    journal = await bench.run(shell("exit 1", "a", retry=retry))
    assert journal.ended is None
    assert list(journal.put_aside.wake_keys) == []
    bench.journal.records = [
        StepRecord(1, "a", "running", started=True, tries=1, retry_at=SystemClock().now())
    ]
    bench.journal.epoch = 3
    journal = await bench.run(shell("exit 1", "a", retry=retry))
    assert journal.end_of("a").status == "failed", "it was the second and last try"
