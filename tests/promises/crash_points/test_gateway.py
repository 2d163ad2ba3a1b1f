"""The gateway dies between storing a request, publishing it, marking it, and looking for what came of it."""

import asyncio
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from sandbox.chaos import load
from sandbox.module import Module
from shared.events.run import RunRequested
from tests.conftest import kafka_settings_of
from tests.promises.crash_points.harness import MORE, QUICK, Chain
from tests.promises.crash_points.table import GATEWAY

pytestmark = [pytest.mark.breaks, pytest.mark.slow, pytest.mark.timeout(600)]


class GatewayChain(Chain):
    """The executor lives, but for a moment when nobody is to take up what was published."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._executor = self.it.service("executor", **QUICK)
        self._unanswered: dict[str, load.Planned] = {}
        self._offered = 0

    def mixed(self, module: Module) -> None:
        """Requests until one has got no answer: whoever asks again, with the same key, gets the same run."""
        self._ask_again()
        while module.alive and self._offered < 2_000:
            planned = load.noop(self.rng)
            key = f"key-{self._offered}"
            self._offered += 1
            try:
                self.offer(planned, key=key)
            except httpx.TransportError:
                self._unanswered[key] = planned

    def overlooked(self, module: Module) -> None:
        """The executor's group has passed over a request and made no execution of it."""
        if self.died(module, seconds=1.5):
            return  # of what its predecessor has left
        self._ask_again()
        self._executor.stop()
        self.offer(load.noop(self.rng))
        asyncio.run(self._pass_over())
        self.it.until(lambda: not module.alive, what="the reconciler to see it")
        self._executor = self.it.service("executor", **QUICK)

    def end(self) -> None:
        self._ask_again()
        super().end()
        assert self.it.database.accepted_events.count_documents({}) == len(self.planned)
        self.it.until(
            lambda: not self.it.database.accepted_events.count_documents({"unsettled": True}),
            what="every request to be settled",
        )

    def _ask_again(self) -> None:
        for key, planned in list(self._unanswered.items()):
            try:
                self.offer(planned, key=key)
            except httpx.TransportError:
                return  # this one is dying too
            del self._unanswered[key]

    async def _pass_over(self) -> None:
        """Commit the end of the topic for the group, which has no member."""
        settings = kafka_settings_of(self.it.kafka)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=settings.bootstrap_servers,
            group_id="executor",
            enable_auto_commit=False,
        )
        await consumer.start()
        try:
            parts = [TopicPartition(RunRequested.topic, n) for n in range(settings.partitions)]
            consumer.assign(parts)
            async with asyncio.timeout(20):
                while self.it.database.accepted_events.count_documents({"pending": True}):
                    await asyncio.sleep(0.05)
                ends = await consumer.end_offsets(parts)
                while not await self._committed(consumer, ends):
                    await asyncio.sleep(0.2)  # the group has a member still
        finally:
            await consumer.stop()

    async def _committed(self, consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> bool:
        try:
            await consumer.commit(ends)
        except KafkaError:
            return False
        return True


@pytest.mark.parametrize("more", MORE)
def test_every_promise_holds(cadenza, more):
    GatewayChain(cadenza, "gateway", more=more).run(GATEWAY)
