"""A consumer above its failure limit, on the real broker and the real database: pause, probe, resume, and who knows of it."""

import pytest

from shared.errors import PermanentError
from shared.ids import new_id
from shared.kafka.batches import BatchConsumer
from shared.kafka.delivery import DeadLetters, DeliveryPolicy
from shared.kafka.topics import Topic, apply_topics
from shared.mongo import consumer_states
from shared.mongo.client import Mongo
from shared.mongo.consumer_states import MongoFailureWindow
from shared.retry import RetryPolicy
from shared.runtime import Health
from tests.conftest import mongo_settings_of
from tests.integration.kafka.peek import committed, fill, read_all, started, until

PATIENT = DeliveryPolicy(failures=RetryPolicy(max_attempts=1), probe_seconds=60)
"""A probe that never comes within a test: only a resumption goes on."""


class Broken:
    """A deployment that fails every message until it is mended."""

    def __init__(self) -> None:
        self.mended = False
        self.tries: list[int] = []
        self.handled: list[int] = []

    async def __call__(self, records) -> None:
        self.tries += [record.offset for record in records]
        if not self.mended:
            raise PermanentError("a bad deployment")
        self.handled += [record.offset for record in records]


class World:
    """Topic, database and consumers of one group."""

    def __init__(self, settings, database, publisher, topic) -> None:
        self.settings = settings
        self.database = database
        self.publisher = publisher
        self.topic = topic
        self.group = f"group-{new_id()}"
        self.health = Health()

    def consumer(self, handle, *, limit=3, policy=PATIENT) -> BatchConsumer:
        return BatchConsumer(
            self.settings,
            topics=[self.topic],
            group=self.group,
            handle=handle,
            health=self.health,
            dead_letters=DeadLetters(self.publisher),
            policy=policy,
            window=MongoFailureWindow(
                self.database, self.group, limit=limit, seconds=600, look_seconds=0.1
            ),
        )

    async def state(self) -> dict:
        return await self.database.consumers.find_one({"_id": self.group}) or {}

    async def is_paused(self) -> bool:
        return bool((await self.state()).get("pauses"))

    async def says(self) -> str:
        return (await self.health.ready()).get(f"consume:{self.group}", "")

    async def letters(self) -> list[int]:
        found = await read_all(self.settings, f"{self.topic}.dlq", partitions=1)
        return sorted(int(dict(letter.headers)["dlq-origin-offset"]) for letter in found)


@pytest.fixture
async def world(kafka_settings, mongo_database, publisher, topic) -> World:
    await fill(publisher, topic, [b"%d" % n for n in range(12)], keys=[b"same"] * 12)
    return World(kafka_settings, mongo_database, publisher, topic)


async def test_the_limit_holds_over_restarts_and_the_state_is_in_the_database(world):
    broken = Broken()
    async with started(world.consumer(broken)):
        await until(world.is_paused)
        [pause] = (await world.state())["pauses"]
        assert (pause["topic"], pause["offset"], pause["why"], pause["probes"]) == (
            world.topic,
            3,
            "too many messages failed",
            0,
        )
        assert (await world.says()).startswith("paused: too many messages failed; since ")
    assert not await world.is_paused(), "a consumer that stops takes its pause along"
    tried = len(broken.tries)
    async with started(world.consumer(broken)):
        await until(world.is_paused)
    assert len(broken.tries) > tried, "the restarted one tried its message"
    assert await world.letters() == [0, 1, 2], "and buried none: the failures were remembered"
    assert sum((await committed(world.settings, world.group, world.topic)).values()) == 3


async def test_a_probe_that_succeeds_lets_work_go_on(world):
    broken = Broken()
    quick = DeliveryPolicy(failures=RetryPolicy(max_attempts=1), probe_seconds=0.2)
    async with started(world.consumer(broken, policy=quick)):

        async def probed() -> bool:
            return any(pause["probes"] >= 2 for pause in (await world.state()).get("pauses", ()))

        await until(probed)
        broken.mended = True
        await until(lambda: broken.handled == list(range(3, 12)))
        await until(lambda: not_paused(world))
        assert await world.says() in ("", "ok")
    assert await world.letters() == [0, 1, 2]


async def test_an_operator_resumes_and_the_failures_are_forgotten(world):
    broken = Broken()
    async with started(world.consumer(broken)):
        await until(world.is_paused)
        assert await consumer_states.resume(world.database, world.group)

        async def paused_again() -> bool:
            return any(pause["offset"] == 6 for pause in (await world.state()).get("pauses", ()))

        await until(paused_again)
        assert await world.letters() == list(range(6)), "three more: a window's room"
        broken.mended = True
        assert await consumer_states.resume(world.database, world.group)
        await until(lambda: broken.handled == list(range(6, 12)))
        await until(lambda: not_paused(world))
    assert not await consumer_states.resume(world.database, "nobody")


async def test_two_processes_share_one_window(world):
    await fill(world.publisher, world.topic, [b"x"] * 12, keys=[b"%d" % n for n in range(12)])
    world.settings = world.settings.model_copy(update={"session_timeout_ms": 2000})
    first, second = Broken(), Broken()
    async with started(world.consumer(first, limit=5)), started(world.consumer(second, limit=5)):
        await until(world.is_paused)

        async def stands_still() -> bool:
            return len(await world.letters()) >= 5

        await until(stands_still)
    assert 5 <= len(await world.letters()) <= 6, "the limit, and one more for the second process"


async def test_a_dead_letter_that_cannot_be_written_holds_up_and_says_so(world):
    """The topic takes no message of this size: nothing is lost, and it goes on once it does."""
    small = Topic(f"{world.topic}.dlq", 60_000, partitions=1, headroom=1_000)
    tiny = world.settings.model_copy(update={"max_message_bytes": 0})
    await apply_topics(tiny, topics=[small])
    await world.publisher.send_raw(world.topic, b"same", b"x" * 5_000, {})
    broken = Broken()
    quick = DeliveryPolicy(failures=RetryPolicy(max_attempts=1), probe_seconds=0.3)
    async with started(world.consumer(broken, limit=100, policy=quick)):

        async def unwritable() -> bool:
            return any(
                pause["why"] == "a dead letter cannot be written"
                for pause in (await world.state()).get("pauses", ())
            )

        await until(unwritable)
        assert "a dead letter cannot be written" in await world.says()
        assert await world.letters() == list(range(12)), "those before it were buried"
        await apply_topics(world.settings, topics=[small])

        async def buried() -> bool:
            return len(await world.letters()) == 13

        await until(buried, seconds=30)
        await until(lambda: not_paused(world))


@pytest.mark.breaks
async def test_the_database_away_is_an_outage_and_no_failure(
    kafka_settings, publisher, topic, own_mongo
):
    """Whether there is room cannot be asked: the consumer waits, buries nothing, and goes on when it is back."""
    await fill(publisher, topic, [b"0", b"1"], keys=[b"same"] * 2)
    settings = mongo_settings_of(own_mongo).model_copy(
        update={"server_selection_timeout_ms": 300, "timeout_ms": 1000}
    )
    async with started(Mongo(settings)) as mongo:
        world = World(kafka_settings, mongo.database, publisher, topic)
        own_mongo.kill()
        async with started(world.consumer(Broken())):

            async def waits() -> bool:
                return await world.says() == "waiting: storage_unavailable"

            await until(waits)
            assert await world.letters() == []
            own_mongo.start()

            async def done() -> bool:
                return await world.letters() == [0, 1]

            await until(done, seconds=40)


async def not_paused(world: World) -> bool:
    return not await world.is_paused()
