"""`schedule_states`: how far the turns of each schedule have come; definitions and apps are the gateway's, only read.

_id                    id of the schedule
anchor_at              of the definition that the times below were made from
next_due               the turn to be taken next; every change is guarded by it, so that none is taken twice
claim {owner, until}   who has that turn in hand (the server's time)
last_due, last_outcome, last_execution_id, last_detail, held_due, missed_from, missed_to
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pymongo.errors import DuplicateKeyError

from services.executor.repository.collections import EXECUTIONS
from services.executor.schedules import Taken
from shared.mongo.client import Database, Document, translated
from shared.mongo.documents import faithful
from shared.plans.apps import AppReference
from shared.views.apps import ACTIVE_FIRST, APP_CONFIGURATIONS, AppView
from shared.views.schedules import (
    SCHEDULE_STATES,
    SCHEDULES,
    ScheduleHead,
    ScheduleState,
    ScheduleView,
)
from shared.work.ports import FINAL
from shared.work.server_clock import ServerClock


class MongoTimetable:
    """Implements `services.executor.schedules.Timetable`. `owner` is new at every start of a process; a turn stays
    `claim_seconds` with one that says nothing more.
    """

    def __init__(
        self, database: Database, *, owner: str, clock: ServerClock, claim_seconds: float = 10
    ) -> None:
        self._database = database
        self._states = database[SCHEDULE_STATES]
        self._owner = owner
        self._clock = clock
        self._claim_ms = round(claim_seconds * 1000)

    async def now(self) -> datetime:
        await self._clock.measure(self._database)
        return self._clock.now()

    async def enabled(self) -> Sequence[tuple[ScheduleHead, ScheduleState | None]]:
        async with translated():
            found = self._database[SCHEDULES].find({"enabled": True}, ScheduleHead.projection())
            heads = [ScheduleHead.from_document(one) async for one in found]
            ids = [head.schedule_id for head in heads]
            states = {
                one["_id"]: ScheduleState.from_document(one)
                async for one in self._states.find({"_id": {"$in": ids}})
            }
        return [(head, states.get(head.schedule_id)) for head in heads]

    async def begin(self, head: ScheduleHead, next_due: datetime | None) -> ScheduleState | None:
        fresh = {"anchor_at": head.anchor_at, "next_due": next_due, "held_due": None, "claim": None}
        async with translated():
            try:
                # an older definition that somebody still has in hand sets nothing back
                await self._states.update_one(
                    {"_id": head.schedule_id, "anchor_at": {"$lt": head.anchor_at}},
                    {"$set": fresh},
                    upsert=True,
                )
            except DuplicateKeyError:
                return None  # another executor was first: the next look goes on from there
        return ScheduleState(schedule_id=head.schedule_id, **_times(fresh))

    async def miss(self, state: ScheduleState, until: datetime, next_due: datetime | None) -> bool:
        missed = {"next_due": next_due, "missed_from": state.next_due, "missed_to": until}
        return await self._change(_at(state), {"$set": {**missed, "claim": None}})

    async def claim(self, state: ScheduleState) -> bool:
        free = {
            "$or": [
                {"claim": None},
                {"claim.owner": self._owner},
                {"$expr": {"$lt": ["$claim.until", "$$NOW"]}},
            ]
        }
        until = {"$add": ["$$NOW", self._claim_ms]}
        claim = {"owner": {"$literal": self._owner}, "until": until}
        return await self._change({**_at(state), **free}, [{"$set": {"claim": claim}}])

    async def hold(self, state: ScheduleState) -> None:
        held = {"$set": {"held_due": state.next_due, "claim": None}}
        await self._change({**_at(state), "claim.owner": self._owner}, held)

    async def advance(self, state: ScheduleState, taken: Taken, next_due: datetime | None) -> bool:
        fields = {
            "next_due": next_due,
            "held_due": None,
            "claim": None,
            "last_due": state.next_due,
            "last_outcome": taken.outcome,
            "last_execution_id": taken.execution_id,
            "last_detail": taken.detail,
        }
        return await self._change({**_at(state), "claim.owner": self._owner}, {"$set": fields})

    async def definition(self, schedule_id: str) -> ScheduleView | None:
        async with translated():
            found = await self._database[SCHEDULES].find_one({"_id": schedule_id, "enabled": True})
        return ScheduleView.from_document(faithful(found)) if found else None

    async def app(self, tenant: str, app: AppReference) -> AppView | None:
        which = {"active": True} if app.version is None else {"version": app.version}
        query = {"tenant": tenant, "app_name": app.name, "sub_app_name": app.sub_app, **which}
        async with translated():
            found = await self._database[APP_CONFIGURATIONS].find_one(query, sort=ACTIVE_FIRST)
        return AppView.from_document(faithful(found)) if found else None

    async def unfinished(self, schedule_id: str, *, before: datetime) -> Sequence[str]:
        query = {
            "schedule_id": schedule_id,
            "due_at": {"$lt": before},
            "status": {"$nin": list(FINAL)},
        }
        async with translated():
            found = self._database[EXECUTIONS].find(query, {"_id": 1}).sort("due_at", 1)
            return [one["_id"] async for one in found]

    async def forget(self) -> int:
        async with translated():
            gone = await self._states.aggregate(
                [
                    {
                        "$lookup": {
                            "from": SCHEDULES,
                            "localField": "_id",
                            "foreignField": "_id",
                            "as": "definition",
                        }
                    },
                    {"$match": {"definition": []}},
                    {"$project": {"_id": 1}},
                ]
            )
            ids = [one["_id"] async for one in gone]
            if not ids:
                return 0
            result = await self._states.delete_many({"_id": {"$in": ids}})
        return result.deleted_count

    async def _change(self, guard: Document, change: Any) -> bool:
        async with translated():
            result = await self._states.update_one(guard, change)
        return result.matched_count == 1


def _at(state: ScheduleState) -> Document:
    """The turn is still the next one, of the same definition."""
    return {"_id": state.schedule_id, "next_due": state.next_due, "anchor_at": state.anchor_at}


def _times(fields: Document) -> Document:
    return {name: fields[name] for name in ("anchor_at", "next_due")}
