"""Use cases about waiting: why does a run not start, who are the workers, and telling those to pause.

Every waiting run has one reason, the first of these that holds:

    waiting         it waits for something that is told (approval, event, children, an external result)
    not_before      it is to go on at a certain time: a step is tried again then
    key_busy        its concurrency key is held by others
    no_worker       no worker that is there has the labels that it requires, or works for its tenant
    workers_paused  those that have them take nothing at present
    position        its turn has not come: so many runs of all tenants are before it
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from services.gateway.awaited import awaited
from services.gateway.intake import Asked, Intake, content_hash
from services.gateway.models import Page, Requester
from shared.clock import Clock
from shared.errors import Conflict, NotFound
from shared.events.run import RunControl
from shared.ids import new_id
from shared.plans.queueing import hold_of
from shared.views.queue import QueuedView, SlotView
from shared.views.workers import CLAIMING, SILENT_FOR, WorkerView
from shared.work.holding import slot_of
from shared.work.labels import TENANT, labels_of

Action = Literal["pause", "resume", "drain"]
Code = Literal["not_before", "waiting", "key_busy", "no_worker", "workers_paused", "position"]


class KeyBusy(Conflict):
    """The concurrency key is busy, and the run asks to be refused then."""

    code = "concurrency_key_busy"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A run that waits, and why. `position` is told whatever the reason is, as long as it stands in a line."""

    run: QueuedView
    code: Code
    reason: str
    position: int | None = None


class QueueViews(Protocol):
    """The executor's documents about waiting, read only."""

    async def waiting(self, tenant: str, *, after: str | None, limit: int) -> Page:
        """`QueuedView`s of the tenant in the order of their turns."""
        ...

    async def before(self, runs: Sequence[QueuedView]) -> Mapping[str, int]:
        """For each run of one tenant, in the order of their turns: how many runs of all tenants are before it in its
        line. Those that stand in none are left out.
        """
        ...

    async def slots(self, ids: Sequence[str]) -> Mapping[str, SlotView]: ...

    async def workers(self) -> tuple[Sequence[WorkerView], datetime]:
        """All workers in the list, and the time by the clock that they are stamped with."""
        ...


class QueueReader:
    """What callers may know of waiting runs and of workers."""

    def __init__(self, views: QueueViews) -> None:
        self._views = views

    async def waiting(self, tenant: str, *, after: str | None, limit: int) -> Page:
        """Waiting runs of a tenant, first the one whose turn comes first."""
        page = await self._views.waiting(tenant, after=after, limit=limit)
        runs: Sequence[QueuedView] = page.items
        before = await self._views.before(runs)
        slots = await self._views.slots([one.blocked_on for one in runs if one.blocked_on])
        workers = await self._alive()
        found = [_explained(run, before.get(run.execution_id), slots, workers) for run in runs]
        return Page(found, page.next_cursor)

    async def workers(self, tenant: str, *, after: str | None = None) -> list[WorkerView]:
        """Those that may work for the tenant, by id. Labels that name other tenants are not shown."""
        found, now = await self._views.workers()
        return [
            _shown(one, now, tenant)
            for one in sorted(found, key=lambda one: one.worker_id)
            if _works_for(one, tenant) and one.worker_id > (after or "")
        ]

    async def worker(self, tenant: str, worker_id: str) -> WorkerView:
        """Raises NotFound."""
        for one in await self.workers(tenant):
            if one.worker_id == worker_id:
                return one
        raise NotFound("there is no such worker")

    async def check_key(self, tenant: str, body: Mapping[str, Any]) -> None:
        """Raises KeyBusy when the run would be refused as things stand. What becomes of it later is the executor's."""
        hold = hold_of(body["plan"], body.get("concurrency"), body.get("inputs") or {})
        if hold is None or hold.on_conflict != "refuse":
            return
        id_ = slot_of(tenant, hold.key)
        slot = (await self._views.slots([id_])).get(id_)
        if slot is not None and len(slot.holders) >= hold.limit:
            raise KeyBusy(_busy(slot))

    async def _alive(self) -> list[WorkerView]:
        found, now = await self._views.workers()
        return [one for one in found if now - one.seen_at <= SILENT_FOR]


class WorkerRequests:
    """What operators may ask of workers."""

    def __init__(self, intake: Intake, reader: QueueReader, *, clock: Clock) -> None:
        self._intake = intake
        self._reader = reader
        self._clock = clock

    async def tell(self, worker_id: str, action: Action, requester: Requester) -> WorkerView:
        """Durable when it returns; the worker obeys a moment later. Raises NotFound."""
        worker = await self._reader.worker(requester.tenant, worker_id)
        now = self._clock.now()
        event = RunControl(
            id=new_id(),
            tenant=requester.tenant,
            occurred_at=now,
            execution_id=worker_id,
            worker_id=worker_id,
            action=action,
            requested_by=requester.user,
            requested_at=now,
        )
        await self._intake.accept(
            Asked(
                event=event,
                subject=worker_id,
                content_hash=content_hash(requester.tenant, {"action": action}),
                actor=requester.user,
                action=f"worker.{action}",
                accepted_at=now,
            )
        )
        return worker


def _explained(
    run: QueuedView,
    before: int | None,
    slots: Mapping[str, SlotView],
    workers: Sequence[WorkerView],
) -> Waiting:
    position = None if before is None else before + 1
    if run.status == "waiting":
        # whoever waits has a time too, at which it looks for itself: that is not what it waits for
        if run.wake_keys or run.wake_at is None:
            return Waiting(run, "waiting", awaited(run.wake_keys))
        return Waiting(run, "not_before", f"not before {run.wake_at.isoformat()}")
    if run.blocked_on is not None:
        slot = slots.get(run.blocked_on)
        return Waiting(run, "key_busy", _busy(slot) if slot else "its key has just become free")
    able = [one for one in workers if one.abilities().may_take(run.tenant, run.pool)]
    if not able:
        return Waiting(run, "no_worker", _nobody(run, workers), position)
    if all(one.state != CLAIMING for one in able):
        return Waiting(run, "workers_paused", "its workers are paused or draining", position)
    return Waiting(run, "position", f"position {position}", position)


def _busy(slot: SlotView) -> str:
    holders = ", ".join(one["execution"] for one in slot.holders[:5])
    more = f" and {len(slot.holders) - 5} more" if len(slot.holders) > 5 else ""
    return (
        f"key `{slot.key}` busy, held by {holders}{more}" if holders else f"key `{slot.key}` busy"
    )


def _nobody(run: QueuedView, workers: Sequence[WorkerView]) -> str:
    if not workers:
        return "no worker is there"
    offered = {label for one in workers for label in one.labels}
    missing = sorted(labels_of(run.pool) - offered) or sorted(labels_of(run.pool))
    if not missing:
        return "no worker works for this tenant"
    return f"no worker with label{'s' if len(missing) > 1 else ''} {', '.join(missing)}"


def _works_for(worker: WorkerView, tenant: str) -> bool:
    tenants = worker.abilities().tenants
    return not tenants or tenant in tenants


def _shown(worker: WorkerView, now: datetime, tenant: str) -> WorkerView:
    own = f"{TENANT}{tenant}"
    labels = [one for one in worker.labels if not one.startswith(TENANT) or one == own]
    state = "lost" if now - worker.seen_at > SILENT_FOR else worker.state
    return worker.model_copy(update={"labels": labels, "state": state})
