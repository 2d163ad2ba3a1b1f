"""Reading batches at least once: the small loop under ingestion and every other hot consumer.

Promises: one poll in flight; `handle` sees the records of a partition in order; an offset is committed only after
`handle` has returned for it (a moment later: `commits.py`), as `{partition: last + 1}` of exactly what was handled
(the driver's bare `commit()` takes the present *position*, which may be further). Heartbeats go on while `handle`
waits. TransientError: the same batch again, without end, with the reason in the health. Another error: one by one, so
that only the record at fault becomes a dead letter (`delivery.py`). A rebalance waits a moment for the batch at hand;
what is taken away nevertheless is dropped and not committed, so its next owner gets it. `stop` leaves the group.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from functools import partial

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from shared.kafka.commits import Commits
from shared.kafka.connection import close_consumer, connection_options, start_driver, translate
from shared.kafka.delivery import DeadLetters, Delivery, DeliveryPolicy, described
from shared.kafka.pausing import FailureWindow
from shared.kafka.progress import Progress
from shared.kafka.records import Partition, Record, from_driver
from shared.observability.instruments import BATCHES, CONSUMED, LAG, PAUSED, WAITING
from shared.observability.metrics import REGISTRY
from shared.pacing import Pace
from shared.retry import RetryPolicy
from shared.settings import KafkaSettings
from shared.tasks import end_tasks

POLL_MS = 500
"""Longest wait for a first record; one that comes earlier ends it."""
GATHERED_BYTES = 256 * 1024
"""What ends the gathering early."""
MAX_POLL_INTERVAL_MS = 7 * 24 * 3600 * 1000
"""Waiting for a database that is away must not cost the membership; a stuck loop shows in the health instead."""
RECONNECT = RetryPolicy(max_attempts=10**9, initial_delay=0.2, factor=1.5, max_delay=3.0)

log = structlog.get_logger()

Handle = Callable[[list[Record]], Awaitable[None]]


class Batch:
    """The records at hand; what a rebalance takes away meanwhile is dropped from it."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = records
        self._dropped: set[Partition] = set()
        self.ended = asyncio.Event()

    def kept(self) -> list[Record]:
        """What is still ours, in order per partition."""
        return [record for record in self._records if record.source not in self._dropped]

    def keeps(self, record: Record) -> bool:
        return record.source not in self._dropped

    def drop(self, partitions: Iterable[Partition]) -> int:
        """Returns how many records were dropped."""
        before = len(self.kept())
        self._dropped.update(partitions)
        return before - len(self.kept())


class BatchConsumer:
    """Member of a consumer group that hands batches to `handle`."""

    def __init__(
        self,
        settings: KafkaSettings,
        *,
        topics: Sequence[str],
        group: str,
        handle: Handle,
        health: Progress,
        dead_letters: DeadLetters,
        max_records: int = 500,
        policy: DeliveryPolicy | None = None,
        window: FailureWindow | None = None,
        instance_id: str | None = None,
        stop_seconds: float = 10.0,
        pace_seconds: float = 0.0,
        patience_ms: int = 0,
    ) -> None:
        """`pace_seconds`: how far batches of several records begin apart at least. `patience_ms`: how late a record may
        come, where most of a topic is for others: the broker gathers so long.
        """
        self.name = f"consume:{group}"
        self._settings = settings
        self._topics = topics
        self._group = group
        self._handle = handle
        self._health = health
        self._delivery = Delivery(
            dead_letters,
            policy=policy or DeliveryPolicy(probe_seconds=settings.probe_seconds),
            window=window,
            report=self._report,
        )
        self._max_records = max_records
        self._instance_id = instance_id
        self._stop_seconds = stop_seconds
        self._pace = Pace(pace_seconds)
        self._gathering = (
            {"fetch_max_wait_ms": patience_ms, "fetch_min_bytes": GATHERED_BYTES}
            if patience_ms
            else {}
        )
        self._batch: Batch | None = None
        self._consumer: AIOKafkaConsumer | None = None
        self._commits: Commits | None = None
        self._trouble: str | None = None
        self._stopping = False
        self._loop_task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to read; does not wait for the broker."""
        self._health.watch(self.name)
        REGISTRY.collect_with(self.name, self._tell_lag)
        self._loop_task = asyncio.create_task(self._run(), name=self.name)

    async def stop(self) -> None:
        """Finish and commit the batch at hand, unless it waits for something that is away; leave the group."""
        self._stopping = True
        REGISTRY.collect_with(self.name, None)
        if self._loop_task is None:
            return
        if self._batch is not None and self._trouble is None:
            await asyncio.wait([self._loop_task], timeout=self._stop_seconds)
        await end_tasks(self._loop_task)
        self._health.unwatch(self.name)

    def _report(self, problem: str | None) -> None:
        self._trouble = problem
        PAUSED.set(float((problem or "").startswith("paused")), self._group)
        WAITING.set(float((problem or "").startswith("waiting")), self._group)
        self._health.beat(self.name)
        self._health.report(self.name, problem)

    async def _run(self) -> None:
        """Have a connected consumer at any time; the driver recovers from most failures by itself."""
        attempt = 0
        while not self._stopping:
            consumer = self._build()
            try:
                await start_driver(consumer)
                consumer.subscribe(self._topics, listener=_Listener(self))
                attempt = 0
                self._report(None)
                self._consumer = consumer
                self._commits = commits = Commits(consumer, group=self._group)
                await self._read(consumer, commits)
            except Exception as error:  # noqa: BLE001 - what was not committed comes again
                attempt += 1
                self._report(str(translate(error)))
                log.warning("kafka.consumer_failed", group=self._group, error=repr(error))
            finally:
                await self._end_commits()
                self._consumer = None
                await close_consumer(consumer)
            if attempt:
                await asyncio.sleep(RECONNECT.delay_after(attempt) or 0)

    async def _read(self, consumer: AIOKafkaConsumer, commits: Commits) -> None:
        while not self._stopping:
            self._health.beat(self.name)
            polled = await consumer.getmany(timeout_ms=POLL_MS, max_records=self._max_records)
            records = [from_driver(message) for part in polled.values() for message in part]
            if records:
                self._pace.begin(len(records))
                await self._work(commits, Batch(records))
                await self._pace.wait()

    async def _work(self, commits: Commits, batch: Batch) -> None:
        self._batch = batch
        begun = time.monotonic()
        try:
            error = await self._delivery.through_outages(
                partial(self._attempt, batch), group=self._group
            )
            if error is None:
                return commits.handled(batch.kept())
            log.warning("kafka.batch_split", group=self._group, **described(error))
            await self._one_by_one(commits, batch)
        finally:
            self._batch = None
            batch.ended.set()
            BATCHES.record(time.monotonic() - begun, self._group)
            CONSUMED.add(len(batch.kept()), self._group)

    async def _attempt(self, batch: Batch) -> None:
        if records := batch.kept():
            await self._handle(records)

    async def _one_by_one(self, commits: Commits, batch: Batch) -> None:
        for record in batch.kept():
            await self._delivery.handle(record, partial(self._attempt_one, batch, record))
            if batch.keeps(record):
                await commits.commit([record])

    async def _attempt_one(self, batch: Batch, record: Record) -> None:
        if batch.keeps(record):
            await self._handle([record])

    async def _tell_lag(self) -> None:
        """Ask the broker how much lies on our partitions beyond what was committed."""
        consumer = self._consumer
        if consumer is None or not (places := list(consumer.assignment())):
            LAG.set(0, self._group)
            return
        ends = await consumer.end_offsets(places)
        begins = await consumer.beginning_offsets(places)
        done = {place: await consumer.committed(place) for place in places}
        behind = [end - (done[place] or begins[place]) for place, end in ends.items()]
        LAG.set(sum(max(0, count) for count in behind), self._group)

    async def revoked(self, partitions: Collection[Partition]) -> None:
        """Let the batch at hand end, unless it cannot; then drop what is being taken away."""
        batch, commits = self._batch, self._commits
        with contextlib.suppress(TimeoutError, KafkaError):
            async with asyncio.timeout(self._settings.session_timeout_ms / 2000):
                if batch is not None and self._trouble is None:
                    await batch.ended.wait()
                if commits is not None:
                    await commits.commit()
        if batch is not None and not batch.ended.is_set() and (dropped := batch.drop(partitions)):
            log.warning("kafka.batch_dropped_by_rebalance", group=self._group, records=dropped)
        if commits is not None:
            commits.forget(partitions)

    async def _end_commits(self) -> None:
        if self._commits is not None:
            await self._commits.stop()
            self._commits = None

    def _build(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            **connection_options(self._settings),
            group_id=self._group,
            group_instance_id=self._instance_id,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=self._settings.session_timeout_ms,
            heartbeat_interval_ms=min(3_000, self._settings.session_timeout_ms // 4),
            max_poll_interval_ms=MAX_POLL_INTERVAL_MS,
            **self._gathering,
        )


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc] # the driver has no types
    """The group is being divided anew."""

    def __init__(self, consumer: BatchConsumer) -> None:
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        await self._consumer.revoked([Partition(part.topic, part.partition) for part in revoked])

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        log.info("kafka.partitions_assigned", count=len(list(assigned)))
