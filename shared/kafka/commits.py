"""Committing what was handled: one request at a time, for all that was handled since the last.

A commit costs the broker a write and the consumer a wait. Handlers recognise what they get again, so nothing is lost
when a process dies before what it handled is committed: it comes once more. So batches need not wait for their commit,
and while records keep coming one commit stands for many batches.
"""

import asyncio
from collections.abc import Iterable, Sequence

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from shared import crash
from shared.kafka.records import Partition, Record
from shared.tasks import end_tasks

GATHER_SECONDS = 0.1
STOP_SECONDS = 2.0

log = structlog.get_logger()


class Commits:
    """The offsets of one consumer. What is no longer ours is left to its next owner."""

    def __init__(self, consumer: AIOKafkaConsumer, *, group: str) -> None:
        self._consumer = consumer
        self._group = group
        self._offsets: dict[TopicPartition, int] = {}
        self._later: asyncio.Task[None] | None = None
        self._one = asyncio.Lock()

    def handled(self, records: Sequence[Record]) -> None:
        """Commit these soon."""
        self._note(records)
        if self._offsets and (self._later is None or self._later.done()):
            self._later = asyncio.create_task(self._gather(), name=f"commit:{self._group}")

    async def commit(self, records: Sequence[Record] = ()) -> None:
        """Commit these, and whatever else was handled, before returning. Raises KafkaError."""
        self._note(records)
        async with self._one:
            await self._commit()

    def forget(self, partitions: Iterable[Partition]) -> None:
        """They are no longer ours: what their next owner commits must not be taken back."""
        for part in partitions:
            self._offsets.pop(TopicPartition(part.topic, part.number), None)

    async def stop(self) -> None:
        """Commit what is left, if the broker takes it soon."""
        await end_tasks(self._later)
        if not self._offsets:
            return
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self.commit()
        except (KafkaError, TimeoutError) as error:
            log.warning("kafka.commit_given_up", group=self._group, error=repr(error))

    def _note(self, records: Sequence[Record]) -> None:
        for record in records:
            partition = TopicPartition(record.topic, record.partition)
            self._offsets[partition] = max(record.offset + 1, self._offsets.get(partition, 0))

    async def _gather(self) -> None:
        while self._offsets:
            await asyncio.sleep(GATHER_SECONDS)
            try:
                await self.commit()
            except KafkaError as error:  # the broker is away, and the driver looks for it
                log.warning("kafka.commit_postponed", group=self._group, error=repr(error))

    async def _commit(self) -> None:
        ours = self._consumer.assignment()
        offsets = {part: offset for part, offset in self._offsets.items() if part in ours}
        self._offsets.clear()
        if not offsets:
            return
        crash.point("batches.before_commit")
        try:
            await self._consumer.commit(offsets)
            crash.point("batches.after_commit")
        except (CommitFailedError, IllegalStateError) as error:
            log.warning("kafka.commit_refused", group=self._group, error=repr(error))
        except BaseException:
            for part, offset in offsets.items():
                self._offsets[part] = max(offset, self._offsets.get(part, 0))
            raise
