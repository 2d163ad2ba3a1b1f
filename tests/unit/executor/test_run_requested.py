"""What becomes of a batch of requests."""

from datetime import timedelta

import pytest

from services.executor.bootstrap import work_queue
from services.executor.consumers import run_requested
from services.executor.intake import Intake
from services.executor.settings import ExecutorGroup
from shared.clock import SystemClock
from shared.kafka.delivery import DeadLetters
from shared.kafka.records import Record
from shared.objects.local import LocalStore
from shared.work.memory import MemoryWork
from shared.work.memory_store import MemoryStore
from tests.builders.runs import a_run_requested

NOW = SystemClock().now()


class Letters:
    def __init__(self) -> None:
        self.reasons: list[str] = []

    async def send_raw(self, topic, key, value, headers):
        self.reasons.append(headers["dlq-reason"])


class NothingRecorded:
    async def ended_steps(self, _tenant, _execution_id, _numbers):
        return {}

    async def sources(self, _tenant, _execution_id, *, inputs):
        assert inputs is not None
        return ()


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def letters():
    return Letters()


@pytest.fixture
def handle(store, letters, tmp_path):
    work = MemoryWork(work_queue(ExecutorGroup()), owner="one", store=store)
    intake = Intake(work, LocalStore(tmp_path), keeping=None, workers=None, recorded=None)
    return run_requested.build(intake, DeadLetters(letters), free=lambda: 1, wake=lambda: None)


def record(request, *, partition=0):
    return Record(
        topic="run-requested", partition=partition, offset=0, key=b"k", value=request.body()
    )


async def test_whoever_was_accepted_first_has_the_first_turn(handle, store):
    late = a_run_requested(occurred_at=NOW)
    early = a_run_requested(occurred_at=NOW - timedelta(seconds=1))
    await handle([record(late), record(early, partition=1)])
    statuses = {id_: document["status"] for id_, document in store.items.items()}
    assert statuses == {early.execution_id: "running", late.execution_id: "queued"}


async def test_what_cannot_be_read_and_what_has_a_taken_id_become_dead_letters(
    handle, store, letters
):
    first = a_run_requested(occurred_at=NOW)
    other = a_run_requested(
        occurred_at=NOW + timedelta(seconds=1),
        execution_id=first.execution_id,
        content_hash="1" * 64,
    )
    broken = Record(topic="run-requested", partition=0, offset=2, key=b"k", value=b"{")
    await handle([record(other), broken, record(first)])
    assert sorted(letters.reasons) == ["id_conflict", "invalid_message"]
    assert store.items[first.execution_id]["content_hash"] == first.content_hash
