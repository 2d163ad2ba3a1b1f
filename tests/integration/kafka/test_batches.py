import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from shared.errors import InvalidMessage, StorageUnavailable
from shared.ids import new_id
from shared.kafka.batches import BatchConsumer
from shared.kafka.delivery import DeadLetters, DeliveryPolicy
from shared.kafka.pausing import MemoryFailureWindow
from shared.kafka.publishing import KafkaEventPublisher
from shared.kafka.records import Record
from shared.kafka.topics import Topic, apply_topics
from shared.retry import RetryPolicy
from shared.runtime import Health
from tests.conftest import kafka_settings_of
from tests.integration.kafka.peek import committed, fill, read_all, started, until

QUICK = DeliveryPolicy(
    failures=RetryPolicy(max_attempts=3, initial_delay=0.01, jitter=0),
    outage=RetryPolicy(max_attempts=10**9, initial_delay=0.05, max_delay=0.1),
    probe_seconds=0.1,
)


class Reader:
    """What a consumer handled, and switches to make handling slow or fail."""

    def __init__(self) -> None:
        self.batches: list[list[Record]] = []
        self.calls = 0
        self.may_go = asyncio.Event()
        self.may_go.set()
        self.error: Exception | None = None
        self.poison: bytes | None = None
        self.delay = 0.0
        self.hold_after: int | None = None

    async def handle(self, records: list[Record]) -> None:
        self.calls += 1
        if len(self.batches) == self.hold_after:
            self.may_go.clear()
        await self.may_go.wait()
        await asyncio.sleep(self.delay)
        if self.error is not None:
            raise self.error
        if self.poison in [record.value for record in records]:
            raise RuntimeError("cannot handle this")
        self.batches.append(records)

    @property
    def values(self) -> list[bytes]:
        return [record.value for batch in self.batches for record in batch]


@asynccontextmanager
async def consuming(settings, topic, reader, publisher, *, group=None, health=None, **options):
    consumer = BatchConsumer(
        settings,
        topics=[topic],
        group=group or f"group-{new_id()}",
        handle=reader.handle,
        health=health or Health(),
        dead_letters=DeadLetters(publisher),
        **{"policy": QUICK, **options},
    )
    async with started(consumer):
        yield consumer


def numbers(count: int, *, start: int = 0) -> list[bytes]:
    return [b"%06d" % number for number in range(start, start + count)]


async def test_everything_is_handled_once_in_order_and_committed(kafka_settings, publisher, topic):
    await fill(publisher, topic, numbers(200))
    reader, group = Reader(), new_id()
    async with consuming(kafka_settings, topic, reader, publisher, group=group, max_records=30):
        await until(lambda: len(reader.values) == 200)

        async def all_committed():
            return sum((await committed(kafka_settings, group, topic)).values()) == 200

        await until(all_committed)
    assert max(map(len, reader.batches)) <= 30
    for partition in (0, 1):
        offsets = [r.offset for batch in reader.batches for r in batch if r.partition == partition]
        assert offsets == list(range(len(offsets)))

    again = Reader()
    async with consuming(kafka_settings, topic, again, publisher, group=group):
        await fill(publisher, topic, [b"new"])
        await until(lambda: again.values)
    assert again.values == [b"new"]


async def test_the_next_batch_is_not_committed_while_it_is_handled(
    kafka_settings, publisher, topic
):
    keys = [b"same"] * 40
    await fill(publisher, topic, numbers(40), keys=keys)
    reader, group = Reader(), new_id()
    reader.hold_after = 2
    async with consuming(kafka_settings, topic, reader, publisher, group=group, max_records=10):
        await until(lambda: reader.calls == 3)
        handled = len(reader.values)
        assert 0 < handled < 40

        async def commits_what_was_handled():
            return sum((await committed(kafka_settings, group, topic)).values()) == handled

        await until(commits_what_was_handled)
        await asyncio.sleep(0.3)
        assert await commits_what_was_handled()
        reader.hold_after = None
        reader.may_go.set()
        await until(lambda: len(reader.values) == 40)


CONSUMER = """
import asyncio, sys
from shared.kafka.batches import BatchConsumer
from shared.kafka.delivery import DeadLetters
from shared.kafka.publishing import KafkaEventPublisher
from shared.runtime import Health
from shared.settings import KafkaSettings

async def main(servers, topic, group, seen):
    settings = KafkaSettings(bootstrap_servers=servers, session_timeout_ms=1500)
    publisher = KafkaEventPublisher(settings)
    async def handle(records):
        with open(seen, "a") as file:
            file.writelines(record.value.decode() + "\\n" for record in records)
        if len(records) == 1 or b"poison" in [record.value for record in records]:
            raise ValueError
    await publisher.start()
    await BatchConsumer(settings, topics=[topic], group=group, handle=handle, health=Health(),
        dead_letters=DeadLetters(publisher)).start()
    await asyncio.sleep(60)
asyncio.run(main(*sys.argv[1:]))
"""


async def crash_at(point: str, *arguments: str) -> None:
    """Run a consumer in a process of its own that is killed at this place."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CONSUMER, *arguments,
        cwd=Path(__file__).parents[3], env={**os.environ, "CRASH_POINT": point},
    )  # fmt: skip
    try:
        async with asyncio.timeout(30):
            assert await process.wait() == -signal.SIGKILL
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.breaks
async def test_a_process_killed_before_its_commit_is_followed_by_redelivery(
    kafka_settings, publisher, topic, tmp_path
):
    await fill(publisher, topic, numbers(20))
    group, seen = new_id(), tmp_path / "seen"
    await crash_at(
        "batches.before_commit", kafka_settings.bootstrap_servers, topic, group, str(seen)
    )
    assert seen.read_text(), "it was handled"
    assert await committed(kafka_settings, group, topic) == {}, "but not committed"
    reader = Reader()
    async with consuming(kafka_settings, topic, reader, publisher, group=group):
        await until(lambda: len(reader.values) == 20)
    assert sorted(reader.values) == numbers(20)


@pytest.mark.breaks
async def test_a_process_killed_after_a_dead_letter_may_write_it_again_but_loses_nothing(
    kafka_settings, publisher, topic, tmp_path
):
    await fill(publisher, topic, [b"poison", b"2"], keys=[b"same"] * 2)
    group, seen = new_id(), tmp_path / "seen"
    await crash_at(
        "delivery.after_dead_letter", kafka_settings.bootstrap_servers, topic, group, str(seen)
    )
    assert await committed(kafka_settings, group, topic) == {}
    reader = Reader()
    reader.poison = b"poison"
    async with consuming(kafka_settings, topic, reader, publisher, group=group):
        await until(lambda: reader.values == [b"2"])
    letters = await read_all(kafka_settings, f"{topic}.dlq", count=2, partitions=1)
    assert {letter.value for letter in letters} == {b"poison"}
    assert len({dict(letter.headers)["dlq-origin-offset"] for letter in letters}) == 1


@pytest.mark.breaks
async def test_an_outage_is_waited_out_with_the_same_batch_and_shows_in_the_health(
    kafka_settings, publisher, topic
):
    settings = kafka_settings.model_copy(update={"session_timeout_ms": 1500})
    await fill(publisher, topic, numbers(10))
    reader, health, group = Reader(), Health(), new_id()
    reader.error = StorageUnavailable()
    async with consuming(settings, topic, reader, publisher, group=group, health=health):
        await until(lambda: reader.calls > 5)
        assert "storage_unavailable" in (await health.ready())[f"consume:{group}"]
        await asyncio.sleep(2.5)  # longer than the session: only heartbeats keep the membership
        reader.error = None
        await until(lambda: len(reader.values) == 10)
        assert (await health.ready())[f"consume:{group}"] == "ok"

        async def all_committed():
            return sum((await committed(settings, group, topic)).values()) == 10

        await until(all_committed)
    assert sorted(reader.values) == numbers(10)


async def test_only_the_poisonous_record_becomes_a_dead_letter(kafka_settings, publisher, topic):
    await fill(publisher, topic, numbers(12), keys=[b"same"] * 12)
    reader = Reader()
    reader.poison = b"000005"
    async with consuming(kafka_settings, topic, reader, publisher):
        await until(lambda: len(reader.values) == 11)
    [letter] = await read_all(kafka_settings, f"{topic}.dlq", count=1, partitions=1)
    headers = {name: value.decode() for name, value in letter.headers}
    assert (letter.key, letter.value) == (b"same", b"000005")
    assert headers.pop("dlq-at").endswith("Z")
    assert headers.pop("dlq-detail").startswith("RuntimeError")
    partition = headers.pop("dlq-origin-partition")
    assert partition in {"0", "1"}
    assert headers == {
        "ce_id": "000005",
        "dlq-reason": "handler_failed",
        "dlq-origin-topic": topic,
        "dlq-origin-offset": "5",
        "dlq-attempts": "3",
    }
    assert reader.values == [value for value in numbers(12) if value != b"000005"]


async def test_unreadable_messages_never_count_towards_the_limit(kafka_settings, publisher, topic):
    await fill(publisher, topic, numbers(20))
    reader = Reader()
    reader.error = InvalidMessage("not JSON")
    async with consuming(
        kafka_settings, topic, reader, publisher, window=MemoryFailureWindow(limit=1)
    ):
        letters = await read_all(kafka_settings, f"{topic}.dlq", count=20, partitions=1)
    assert {dict(letter.headers)["dlq-reason"] for letter in letters} == {b"invalid_message"}


async def test_above_the_limit_work_pauses_and_goes_on_by_itself(kafka_settings, publisher, topic):
    await fill(publisher, topic, numbers(20), keys=[b"same"] * 20)
    reader, health, group = Reader(), Health(), new_id()
    reader.error = RuntimeError("a bad deployment")
    window = MemoryFailureWindow(limit=3)
    async with consuming(
        kafka_settings, topic, reader, publisher, group=group, health=health, window=window
    ):

        async def paused():
            return "too many" in (await health.ready()).get(f"consume:{group}", "")

        await until(paused)
        await asyncio.sleep(0.3)
        reader.error = None
        await until(lambda: len(reader.values) == 17)
    assert len(await read_all(kafka_settings, f"{topic}.dlq", count=3, partitions=1)) == 3


@pytest.mark.breaks
async def test_a_second_consumer_joins_in_the_middle(kafka_settings, publisher, topic):
    """The batch at hand is finished and committed before the partitions are divided anew: nothing is handled twice."""
    settings = kafka_settings.model_copy(update={"session_timeout_ms": 2000})
    await fill(publisher, topic, numbers(300))
    first, second, group = Reader(), Reader(), new_id()
    first.delay = second.delay = 0.1
    async with consuming(settings, topic, first, publisher, group=group, max_records=10):
        await until(lambda: first.values)
        async with consuming(settings, topic, second, publisher, group=group, max_records=10):
            await until(lambda: len(first.values) + len(second.values) >= 300)
            await asyncio.sleep(0.3)
    assert sorted(first.values + second.values) == numbers(300)
    assert first.values, "the first one began"
    assert second.values, "the second one got partitions"


@pytest.mark.breaks
async def test_a_batch_that_outlasts_the_rebalance_is_dropped_not_committed(
    kafka_settings, publisher, topic
):
    settings = kafka_settings.model_copy(update={"session_timeout_ms": 1500})
    await fill(publisher, topic, numbers(40))
    first, second, group = Reader(), Reader(), new_id()
    first.may_go.clear()
    async with consuming(settings, topic, first, publisher, group=group, max_records=500):
        await until(lambda: first.calls)
        async with consuming(settings, topic, second, publisher, group=group):
            await until(lambda: second.values)
            first.may_go.set()
            await until(lambda: set(first.values) | set(second.values) == set(numbers(40)))

            async def all_committed():
                return sum((await committed(settings, group, topic)).values()) == 40

            await until(all_committed)
    assert len(second.values) == len(set(second.values))


@pytest.mark.breaks
async def test_a_broker_restart_in_the_middle_loses_nothing(own_kafka):
    settings = kafka_settings_of(own_kafka)
    topic = "restarted"
    await apply_topics(settings, topics=[Topic(topic, 600_000, partitions=2)])
    reader = Reader()
    async with started(KafkaEventPublisher(settings)) as publisher:
        await fill(publisher, topic, numbers(50))
        async with consuming(settings, topic, reader, publisher, max_records=10):
            await until(lambda: reader.values)
            await asyncio.to_thread(own_kafka.kill)
            await asyncio.sleep(1)
            await asyncio.to_thread(own_kafka.start)
            await until(lambda: len(set(reader.values)) == 50, seconds=30)
            await fill(publisher, topic, numbers(50, start=50))
            await until(lambda: len(set(reader.values)) == 100, seconds=30)

        await asyncio.to_thread(own_kafka.stop)
        early, health = Reader(), Health()
        async with consuming(settings, topic, early, publisher, group="early", health=health):

            async def says_so():
                return "Kafka" in (await health.ready())["consume:early"]

            await until(says_so)
            await asyncio.to_thread(own_kafka.start)
            await until(lambda: len(early.values) == 100, seconds=30)
            assert (await health.ready())["consume:early"] == "ok"


async def test_stop_finishes_and_commits_the_batch_at_hand(kafka_settings, publisher, topic):
    await fill(publisher, topic, numbers(5), keys=[b"same"] * 5)
    reader, group = Reader(), new_id()
    reader.may_go.clear()
    async with consuming(
        kafka_settings, topic, reader, publisher, group=group, max_records=5
    ) as consumer:
        await until(lambda: reader.calls)
        stopping = asyncio.create_task(consumer.stop())
        await asyncio.sleep(0.1)
        reader.may_go.set()
        await stopping
    assert sum((await committed(kafka_settings, group, topic)).values()) == len(reader.values) > 0


async def test_a_topic_created_late_is_found(kafka_settings, publisher):
    reader, topic = Reader(), f"late-{new_id()}"
    async with consuming(kafka_settings, topic, reader, publisher):
        await asyncio.sleep(0.5)
        await apply_topics(kafka_settings, topics=[Topic(topic, 60_000, partitions=1)])
        await fill(publisher, topic, [b"1"])
        await until(lambda: reader.values == [b"1"], seconds=20)


async def test_stop_leaves_the_group_so_that_the_next_member_begins_at_once(
    kafka_settings, publisher, topic
):
    group, first, second = new_id(), Reader(), Reader()
    await fill(publisher, topic, [b"1"])
    async with consuming(kafka_settings, topic, first, publisher, group=group):
        await until(lambda: first.values)
    await fill(publisher, topic, [b"2"])
    async with consuming(kafka_settings, topic, second, publisher, group=group):
        await until(lambda: second.values, seconds=3)  # the session time-out is ten
    assert (first.values, second.values) == ([b"1"], [b"2"])


async def test_a_static_member_comes_back(kafka_settings, publisher, topic):
    group, other, first, second = new_id(), Reader(), Reader(), Reader()
    async with consuming(kafka_settings, topic, other, publisher, group=group, instance_id="b"):
        async with consuming(kafka_settings, topic, first, publisher, group=group, instance_id="a"):
            await fill(publisher, topic, numbers(20))
            await until(lambda: len(first.values) + len(other.values) == 20)
        async with consuming(
            kafka_settings, topic, second, publisher, group=group, instance_id="a"
        ):
            await fill(publisher, topic, numbers(20, start=20))
            await until(lambda: len(first.values) + len(other.values) + len(second.values) == 40)
    assert sorted(first.values + other.values + second.values) == numbers(40)
