"""Child executions: lanes and sub-plans, as the steps of their parent see them.

A child is an execution like any other: it is queued, claimed, cancelled and recovered by itself, and belongs to the
tenant and user of its parent. Its id follows from parent, step and lane, so a parent that is recovered starts nothing
twice; what has become of the children is always read from their documents.

Children are cancelled with their parent. A parent reads its own mark again after it has started some; and children
whose parent ended without them (its worker was lost too often) are found by a sweeper of any replica.
"""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import structlog

from services.executor import plans
from services.executor.bringing_tables import BroughtTable, Tables
from services.executor.commands.children import Child, NewChild, Rows, UnusableTable
from services.executor.documents import new_run
from services.executor.errors import PlanUnavailable
from services.executor.ports import Kin
from services.executor.reruns import reused_lanes
from shared.clock import Clock
from shared.errors import CadenzaError
from shared.events.run import RunRequested, StoredPlan
from shared.ids import child_id
from shared.objects.ports import ObjectStore
from shared.plans.plan import Plan
from shared.plans.rows import without_rows
from shared.security.fields import HIDDEN, change
from shared.tasks import end_tasks
from shared.work.ports import NewItem, Wakes, Work

INLINE_PLAN_BYTES = 16 * 1024
"""A larger plan is stored once for all children of a step."""
ENDED_BY = "parent"
SWEEP_SECONDS = 15.0
TELL_SECONDS = 1.0
UNTOLD_SECONDS = 3.0
"""After so long whoever was to tell a parent has died, or nobody was to."""
AT_ONCE = 500
log = structlog.get_logger()


class Family:
    """What the children of all runs of one executor share. `wake` makes its loop look for what was queued."""

    def __init__(
        self,
        work: Work,
        kin: Kin,
        wakes: Wakes,
        objects: ObjectStore,
        *,
        tables: Tables,
        clock: Clock,
        free: Callable[[], int],
        wake: Callable[[], None],
    ) -> None:
        self.name = "family"
        self.work = work
        self.kin = kin
        self.objects = objects
        self.tables = tables
        self.clock = clock
        self.free = free
        self.wake = wake
        self._wakes = wakes
        self._told: list[str] = []
        self._loops: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        turns = ((TELL_SECONDS, self.tell_parents), (SWEEP_SECONDS, self.end_orphans))
        self._loops = [
            asyncio.create_task(self._every(seconds, turn), name=self.name)
            for seconds, turn in turns
        ]

    async def stop(self) -> None:
        await end_tasks(*self._loops)

    def of(self, parent: Mapping[str, Any], plan: Plan, step_id: int) -> "StepChildren":
        """The children of a step. `parent` is the document that was claimed, `plan` what its caller wrote."""
        return StepChildren(self, parent, plan, step_id)

    async def ended(self, child: Mapping[str, Any]) -> None:
        """A run has ended: tell its parent, if it has one. Until then its document says that the parent may not know,
        and a sweeper tells it.
        """
        if not child.get("parent_id"):
            return
        key, tenant = _wake_key(child["parent_id"], child["parent_step"]), child["tenant"]
        try:
            if not self._wakes.tell(key, tenant=tenant):
                await self._wakes.wake(key, tenant=tenant, id=child["_id"])
        except CadenzaError as error:
            log.warning("family.parent_not_told", execution_id=child["_id"], error=error.message)
            return
        self._told.append(child["_id"])

    async def tell_parents(self) -> int:
        """Note who was told, and tell who was not; returns how many were told now."""
        told, self._told = self._told, []
        if told:
            await self.kin.told(told)
        before = self.clock.now() - timedelta(seconds=UNTOLD_SECONDS)
        untold = await self.kin.untold(before, limit=AT_ONCE)
        for child in untold:
            await self.ended(child)
        return len(untold)

    async def end_below(
        self, execution_id: str, *, tenant: str, by: str, reason: str | None
    ) -> int:
        """Cancel every descendant that has not ended; returns how many there were."""
        count, above = 0, [execution_id]
        while above:
            above = await self.kin.open_below(above, tenant=tenant)
            count += len(above)
            for id_ in above:
                await self.work.cancel(id_, tenant=tenant, by=by, reason=reason)
        return count

    async def end_orphans(self) -> int:
        """Cancel children whose parent has ended; returns how many."""
        count = 0
        for tenant, parent in await self.kin.ended_parents():
            reason = "the execution that it belongs to has ended"
            count += await self.end_below(parent, tenant=tenant, by=ENDED_BY, reason=reason)
        return count

    async def _every(self, seconds: float, turn: Callable[[], Awaitable[int]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await turn()
            except CadenzaError as error:
                log.warning("family.not_swept", error=error.message)


class StepChildren:
    """Implements `ChildRuns` for one step of one run."""

    def __init__(self, family: Family, parent: Mapping[str, Any], plan: Plan, step_id: int) -> None:
        self._family = family
        self._kin = family.kin
        self._parent = parent
        self._plan = plan
        self._step_id = step_id
        self._place = (str(parent["_id"]), step_id)
        self._rows: Rows | None = None
        self._table = BroughtTable(())
        self._stored: tuple[Mapping[str, Any], StoredPlan] | None = None

    @property
    def wake_key(self) -> str:
        return _wake_key(*self._place)

    async def rows(self) -> Rows:
        if self._rows is None:
            raw = self._parent.get("plan")
            if raw is None:
                try:
                    raw = await plans.fetch(self._family.objects, self._parent["stored_plan"])
                except PlanUnavailable as error:
                    raise UnusableTable(error.message) from None
            tenant = str(self._parent["tenant"])
            self._table = await self._family.tables.bring(self._plan, tenant)
            inputs = self._parent.get("inputs") or {}
            reused = reused_lanes(self._parent, self._table)
            rows, at_once = self._table.rows, self._plan.max_lanes
            self._rows = Rows(rows, at_once, without_rows(raw), inputs, reused)
        return self._rows

    async def start(self, children: Sequence[NewChild]) -> None:
        items = [await self._item(child) for child in children]
        if items:
            await self._family.work.add(items, start=self._family.free())
            self._family.wake()

    async def one(self, number: int) -> Child | None:
        return await self._kin.one(child_id(*self._place, *_which(None, number)))

    async def started(self) -> int:
        return await self._kin.started(*self._place)

    async def open(self) -> int:
        return await self._kin.open(*self._place)

    async def last_lane(self) -> int:
        return await self._kin.last_lane(*self._place)

    async def lanes(self) -> set[int]:
        return await self._kin.lanes(*self._place)

    async def counts(self) -> Mapping[str, int]:
        return await self._kin.counts(*self._place)

    async def not_completed(self, limit: int) -> Sequence[Child]:
        return await self._kin.not_completed(*self._place, limit=limit)

    async def outputs(self, child: Child) -> Mapping[str, Any]:
        out: dict[str, Any] = {}
        for step in await self._kin.outputs(child.id):
            output = step["output"]
            if uri := step.get("output_uri"):
                output = json.loads(
                    await self._family.objects.get(self._family.objects.key_of(uri))
                )
            if sealed := step.get("encrypted_fields"):
                output, _ = change(output, sealed, "output", lambda *_: HIDDEN)
            out[step["step_name"]] = output
        return out

    async def end(self, reason: str) -> int:
        tenant = str(self._parent["tenant"])
        ids = await self._kin.open_of(*self._place)
        for id_ in ids:
            await self._family.work.cancel(id_, tenant=tenant, by=ENDED_BY, reason=reason)
            await self._family.end_below(id_, tenant=tenant, by=ENDED_BY, reason=reason)
        return len(ids)

    async def unwanted(self) -> bool:
        return await self._kin.is_cancelled(self._place[0])

    async def _item(self, child: NewChild) -> NewItem:
        parent, (parent_id, step_id) = self._parent, self._place
        which = _which(child.lane, child.number)
        id_ = child_id(parent_id, step_id, *which)
        content = "/".join(map(str, (parent["content_hash"], step_id, *which)))
        stored = await self._stored_plan(child.plan)
        request = RunRequested(
            id=id_,
            tenant=parent["tenant"],
            occurred_at=self._family.clock.now(),
            execution_id=id_,
            user_id=parent.get("user_id") or "",
            plan=None if stored else dict(child.plan),
            stored_plan=stored,
            inputs=dict(child.inputs),
            labels=parent.get("labels") or {},
            metadata=parent.get("metadata") or {},
            priority=parent.get("priority") or 0,
            app=child.app,
            content_hash=hashlib.sha256(content.encode()).hexdigest(),
        )
        item = new_run(request, child.plan, traceparent=parent.get("traceparent"))
        kinship = {
            "parent_id": parent_id,
            "parent_step": step_id,
            "root_id": parent.get("root_id") or parent_id,
            "lane": child.lane,
            "parent_attempt": None if child.lane else child.number,
            "row": child.row,
            "lane_total": len(self._rows.rows) if self._rows else None,
            "table_sha256": self._table.sha256,
        }
        # a lane has the files of its parent; a sub-plan has a plan, and thus sources, of its own
        sources = (self._parent.get("sources") if child.lane is not None else None) or ()
        if sources:
            kinship["sources"] = [dict(record) for record in sources]
        return replace(item, fields={**item.fields, **kinship})

    async def _stored_plan(self, plan: Mapping[str, Any]) -> StoredPlan | None:
        """Where a large plan lies; None for one that every child may hold itself."""
        if self._stored is not None and self._stored[0] is plan:
            return self._stored[1]
        data = json.dumps(plan, separators=(",", ":"), ensure_ascii=False).encode()
        if len(data) <= INLINE_PLAN_BYTES:
            return None
        sha = hashlib.sha256(data).hexdigest()
        key = (
            f"{self._parent['tenant']}/executions/{self._place[0]}/{self._step_id}-{sha[:16]}.json"
        )
        info = await self._family.objects.put(key, data, content_type="application/json")
        self._stored = plan, StoredPlan(uri=info.uri, sha256=sha)
        return self._stored[1]


def _which(lane: int | None, number: int) -> tuple[int, ...]:
    """What tells the children of one step from each other."""
    return (lane or 0,) if number == 1 else (lane or 0, number)


def _wake_key(parent: str, step_id: int) -> str:
    return f"children/{parent}/{step_id}"
