"""The journal of one run in MongoDB: each call is one guarded change, and its event goes out after it is durable.

A step's document is written under the guard "my epoch, not final", so a former owner can change nothing. A *started*
mark is not waited for: while it still waits for its turn, the *finished* change absorbs it. A step that may not run
twice is the exception: its mark is durable before its effect.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, TypeVar

import structlog

from services.executor.documents import step_id_of
from services.executor.junit.cases import ReportedCase, added
from services.executor.models import (
    Artifact,
    LogLines,
    RunEnd,
    RunWait,
    Sample,
    StepEnd,
    StepMemory,
    StepRecord,
    WaitingFor,
)
from services.executor.repository.cases import CaseStore
from services.executor.repository.collections import (
    ARTIFACTS,
    EXECUTIONS,
    LOGS,
    METRICS,
    STEPS,
)
from services.executor.repository.progress import Progress
from services.executor.repository.records import (
    artifact_document,
    finished_fields,
    is_open,
    log_document,
    log_event,
    memory_fields,
    metric_document,
    record,
    tried,
)
from services.executor.repository.taking_over import UNFINISHED, Predecessors, settled
from shared import crash
from shared.clock import Clock, milliseconds_between
from shared.errors import StorageUnavailable
from shared.mongo.client import Database
from shared.mongo.group_commit import Change, Emission, GroupCommit
from shared.mongo.group_insert import DuplicateDocument, GroupInsert
from shared.ports import EventPublisher
from shared.work.ports import Claim, PendingEvent, first_sequence
from shared.work.queue import MongoWork

AGAIN_SECONDS = 0.5
T = TypeVar("T")
log = structlog.get_logger()


class MongoJournals:
    """What the journals of one process share."""

    def __init__(
        self,
        database: Database,
        *,
        work: MongoWork,
        commit: GroupCommit,
        publisher: EventPublisher,
        clock: Clock,
    ) -> None:
        self.steps = database[STEPS]
        self.log_lines = database[LOGS]
        self.logs = GroupInsert(self.log_lines)
        self.artifacts = GroupInsert(database[ARTIFACTS])
        self.metrics = GroupInsert(database[METRICS])
        self.cases = CaseStore(database, clock)
        self.work = work
        self.commit = commit
        self.publisher = publisher
        self.clock = clock

    def of(self, claim: Claim) -> "MongoJournal":
        return MongoJournal(claim, self)


class MongoJournal:
    """One claimed run."""

    def __init__(self, claim: Claim, stores: MongoJournals) -> None:
        self._claim = claim
        self._stores = stores
        self._sequence = stores.work.sequencer(claim)
        self._chunk = first_sequence(claim.epoch)
        self._head = {"execution_id": claim.id, "tenant": claim.tenant}
        self._started: dict[int, datetime] = {}
        self._last_change: dict[int, str] = {}
        self._recorded: dict[int, str] = {}
        """The try of a step whose outcome is on record, while the step waits for its next one."""
        self._remembering: set[int] = set()
        """Steps whose documents hold a memory."""
        self._artifacts: dict[int, list[dict[str, Any]]] = {}
        self._memories = 0
        self._progress = Progress(claim, stores.publisher, stores.clock)
        self._counts: dict[str, int] = {}
        self._results: dict[str, int] | None = None
        self._names: Sequence[str] = ()

    def attempt(self, number: int) -> str:
        return f"{self._claim.epoch}.{number}"

    async def open(self, names: Sequence[str]) -> list[StepRecord]:
        self._names = names
        if self._claim.epoch == 1 and self._claim.document.get("rerun_of") is None:
            return []  # the first owner finds every step as it was queued
        stores = self._stores
        former = Predecessors(
            self._claim, steps=stores.steps, log_lines=stores.log_lines, commit=stores.commit
        )
        if self._claim.epoch > 1:
            await self._patiently(former.shut_out)
        if self._claim.document.get("rested") != self._claim.epoch - 1 > 0:
            # else its former owner had stored all of its lines before it put the run aside
            await self._patiently(former.fence_logs)
        documents = await self._patiently(former.steps)
        lost = [
            doc
            for doc in documents
            if doc["status"] == "running" and is_open(doc) and not doc.get("memory")
        ]
        for document in documents:
            if document["status"] == "running" and document.get("memory"):
                self._remembering.add(document["step_id"])
                self._started[document["step_id"]] = document["attempt_started_at"]
        await asyncio.gather(*(self._record_lost(doc) for doc in lost))
        if lost:
            crash.point("recovery.after_lost")
        for document in documents:
            if document["status"] not in UNFINISHED:
                self._count(document["status"])
                self._results = added(self._results, document.get("results"))
        return [record(document) for document in documents]

    async def step_started(self, step_id: int, attempt: str, *, durable: bool) -> None:
        now = self._stores.clock.now()
        first = step_id not in self._started
        self._started[step_id] = now
        update = {"status": "running", "attempt": attempt, "attempt_started_at": now}
        if first:
            update["started_at"] = now
        done = self._change(step_id, "step.started", f"{attempt}.started", set_=update, at=now)
        if durable:
            await settled(done)

    async def step_remembers(
        self, step_id: int, attempt: str, memory: StepMemory, waiting_for: WaitingFor | None
    ) -> None:
        self._remembering.add(step_id)
        self._memories += 1
        change = Change(
            id=f"{self._claim.id}/{step_id}/{self.attempt(0)}/{attempt}.memory.{self._memories}",
            collection=STEPS,
            document_id=step_id_of(self._claim.id, step_id),
            guard={"epoch": self._claim.epoch, "status": {"$in": UNFINISHED}},
            update={"$set": memory_fields(memory, waiting_for, self._stores.clock.now())},
            absorbs=self._last_change.get(step_id),
        )
        self._last_change[step_id] = change.id
        crash.point("step.before_memory")
        await settled(self._stores.commit.submit_nowait(change))
        crash.point("step.after_memory")

    async def step_retrying(
        self, step_id: int, attempt: str, end: StepEnd, delay: float, *, durable: bool = False
    ) -> None:
        now = self._stores.clock.now()
        self._recorded[step_id] = attempt
        done = self._change(
            step_id,
            "step.retrying",
            f"{attempt}.retrying",
            set_={
                "retry_count": end.retry_count + 1,
                "retry_at": now + timedelta(seconds=delay),
                **self._forgotten(step_id),
            },
            tried=tried(attempt, end, self._started[step_id], now),
            data={"delay_ms": round(delay * 1000), "reason": end.reason, "attempt": attempt},
            at=now,
        )
        if durable:
            await settled(done)

    async def step_finished(self, step_id: int, attempt: str | None, end: StepEnd) -> None:
        now = self._stores.clock.now()
        begun = self._started.get(step_id)
        data: dict[str, Any] = {"status": end.status, "reason": end.reason, "attempt": attempt}
        if kept := self._artifacts.pop(step_id, None):
            data["artifacts"] = kept
        duration = milliseconds_between(begun, now) if begun else None
        if duration is not None:
            data["duration_ms"] = duration
        if end.results is not None:
            data["results"] = dict(end.results)
        last = None
        if attempt and begun and attempt != self._recorded.get(step_id):
            last = tried(attempt, end, begun, now)
        done = self._change(
            step_id,
            "step.finished",
            f"{attempt or self.attempt(0)}.finished",
            set_={
                **finished_fields(end, attempt),
                "completed_at": now,
                "duration_ms": duration,
                **self._forgotten(step_id),
            },
            tried=last,
            data=data,
            at=now,
        )
        await settled(done)
        self._count(end.status)
        self._results = added(self._results, end.results)

    async def logs(self, lines: Sequence[LogLines]) -> None:
        documents = [self._numbered(line) for line in lines]
        crash.point("logs.before_store")
        for document in documents:
            await self._stored(self._stores.logs, document)
        crash.point("logs.before_publish")
        for document in documents:
            asyncio.create_task(self._announce(document)).add_done_callback(_ignore_outcome)

    def progress(self, step_id: int, attempt: str, told: Mapping[str, Any]) -> None:
        named = {**self._named(step_id, {}), "attempt": attempt}
        self._progress.tell(named, told, sequence=self._sequence.last)

    async def artifact(self, artifact: Artifact) -> None:
        document = artifact_document(self._claim, artifact, self._stores.clock.now())
        crash.point("artifact.after_bytes")
        await self._stored(self._stores.artifacts, document)
        crash.point("artifact.after_document")
        named = {"artifact_id": document["_id"], "name": artifact.name, "type": artifact.type}
        self._artifacts.setdefault(artifact.step_id, []).append(
            {**named, "size_bytes": artifact.size}
        )

    async def sources(self, records: Sequence[Mapping[str, Any]]) -> None:
        change = Change(
            id=f"{self._claim.id}/{self._claim.epoch}.sources",
            collection=EXECUTIONS,
            document_id=self._claim.id,
            guard={"epoch": self._claim.epoch},
            update={"$set": {"sources": [dict(record) for record in records]}},
        )
        await settled(self._stores.commit.submit_nowait(change))

    async def cases(self, step_id: int, attempt: str, cases: Sequence[ReportedCase]) -> None:
        await self._stores.cases.add(
            self._claim, cases, step_id=step_id, attempt=attempt, store=self._stored
        )

    async def sample(self, sample: Sample) -> None:
        try:
            await self._stores.metrics.insert(metric_document(self._claim, sample))
        except StorageUnavailable:
            log.warning("metrics.dropped", execution_id=self._claim.id, step_id=sample.step_id)

    async def wait(self, wait: RunWait) -> str:
        return await self._stores.work.wait(
            self._claim,
            wake_at=wait.wake_at,
            wake_keys=wait.wake_keys,
            heard=wait.heard,
            sequence=self._sequence.last,
            data={"steps": list(wait.steps)},
            told_of_cancel=wait.told_of_cancel,
        )

    async def finish(self, end: RunEnd) -> str:
        return await self._stores.work.finish(
            self._claim,
            end.status,
            sequence=self._sequence.last,
            reason=end.reason,
            error=end.error,
            fields={"step_counts": dict(self._counts), "results": self._results},
            data={"steps": dict(self._counts)}
            | ({} if self._results is None else {"results": self._results}),
        )

    def _change(
        self,
        step_id: int,
        event: str,
        name: str,
        *,
        set_: Mapping[str, Any],
        at: datetime,
        tried: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> "asyncio.Future[None]":
        """Submit one change of a step with its event; what of the step still waits is absorbed."""
        sequence, prev = self._sequence.next()
        update: dict[str, Mapping[str, Any]] = {"$set": dict(set_)}
        if tried is not None:
            update["$push"] = {"attempts": dict(tried)}
        change = Change(
            id=f"{self._claim.id}/{step_id}/{name}",
            collection=STEPS,
            document_id=step_id_of(self._claim.id, step_id),
            guard={"epoch": self._claim.epoch, "status": {"$in": UNFINISHED}},
            update=update,
            absorbs=self._last_change.get(step_id),
            emits=Emission(
                stream=self._claim.id,
                head=self._head,
                events=[
                    PendingEvent(
                        sequence, prev, event, at, {**self._named(step_id, set_), **(data or {})}
                    )
                ],
            ),
        )
        self._last_change[step_id] = change.id
        return self._stores.commit.submit_nowait(change)

    def _forgotten(self, step_id: int) -> dict[str, Any]:
        """A try that has ended remembers nothing."""
        if step_id not in self._remembering:
            return {}
        self._remembering.discard(step_id)
        return {"memory": None, "waiting_for": None}

    def _named(self, step_id: int, set_: Mapping[str, Any]) -> dict[str, Any]:
        named = {
            "step_id": step_id,
            "step_name": self._names[step_id - 1],
            "status": set_.get("status"),
        }
        if "attempt" in set_:
            named["attempt"] = set_["attempt"]
        return named

    async def _record_lost(self, document: Mapping[str, Any]) -> None:
        now = self._stores.clock.now()
        attempt = document.get("attempt")
        done = self._change(
            document["step_id"],
            "step.attempt_lost",
            f"{self.attempt(0)}.lost",
            set_={"attempt": None},
            tried={"attempt": attempt, "status": "lost", "reason": "lost_worker", "ended_at": now},
            data={"attempt": attempt, "reason": "lost_worker"},
            at=now,
        )
        await settled(done)

    def _numbered(self, line: LogLines) -> dict[str, Any]:
        self._chunk += 1
        return log_document(self._claim, line, sequence=self._sequence.last, chunk=self._chunk)

    async def _stored(self, collection: GroupInsert, document: Mapping[str, Any]) -> None:
        """Logs and artifacts come before the step's end."""
        with suppress(DuplicateDocument):  # an answer was lost, the document was not
            await self._patiently(lambda: collection.insert(document))

    async def _patiently(self, action: Callable[[], Awaitable[T]]) -> T:
        """Wait for as long as the database is away; `action` may be taken any number of times."""
        while True:
            try:
                return await action()
            except StorageUnavailable:
                await self._stores.clock.sleep(AGAIN_SECONDS)

    async def _announce(self, document: Mapping[str, Any]) -> None:
        await self._stores.publisher.publish(log_event(document))

    def _count(self, status: str) -> None:
        self._counts[status] = self._counts.get(status, 0) + 1


def _ignore_outcome(task: "asyncio.Task[None]") -> None:
    """Log events are in no outbox: whoever misses one reads it from the collection."""
    if not task.cancelled():
        task.exception()
