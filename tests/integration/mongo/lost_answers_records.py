"""What is written for things that are kept by name: cases of `test_lost_answers.py`."""

from datetime import timedelta
from typing import Any

from services.executor.history_records import imported
from services.executor.models import Artifact
from services.executor.repository import COLLECTIONS
from services.executor.repository.history import MongoArchive
from services.executor.repository.keeping import MongoKeptRuns
from services.executor.repository.schedules import MongoTimetable
from services.executor.schedules import Taken
from services.gateway.repository import apps, schedules
from services.gateway.repository.apps import MongoConfigurations
from services.gateway.repository.schedules import MongoDefinitions
from shared.clock import SystemClock
from shared.mongo.indexes import apply
from shared.plans.apps import AppReference
from shared.work.server_clock import ServerClock
from tests.integration.mongo.lost_answers import NOW, Case, Facts, updates
from tests.promises.wire_messages import Message

MINUTE = timedelta(minutes=1)
_SCHEDULES = "services/gateway/repository/schedules.py:MongoDefinitions"
_TIMETABLE = "services/executor/repository/schedules.py:MongoTimetable"
_ARCHIVE = "services/executor/repository/history.py:MongoArchive"
_KEPT = "services/executor/repository/keeping.py:MongoKeptRuns"
_APPS = "services/gateway/repository/apps.py:MongoConfigurations"


def _version(version: str) -> dict[str, Any]:
    return {
        "_id": f"v{version}",
        "tenant": "demo",
        "app_id": 1,
        "app_name": "greeting",
        "sub_app_id": None,
        "sub_app_name": None,
        "version": version,
        "configuration": {},
        "content_hash": "0",
        "active": False,
        "activated_at": None,
        "activations": [],
        "created_at": NOW,
        "created_by": "ann",
    }


async def app_numbered(database: Any, direct: Any) -> Case:
    await apply(direct, apps.COLLECTIONS)
    names = MongoConfigurations(database)

    async def number() -> None:
        assert await names.number("demo", "greeting", None) == 1

    async def facts() -> Facts:
        return [one["number"] for one in await direct[apps.NAMES].find().to_list()]

    return Case(updates(apps.NAMES), number, facts, [1])


async def version_stored(database: Any, direct: Any) -> Case:
    await apply(direct, apps.COLLECTIONS)
    versions = MongoConfigurations(database)

    async def add() -> None:
        assert await versions.add(_version("1")) in (None, "0")

    async def facts() -> Facts:
        return await direct.app_configurations.count_documents({})

    return Case(updates("app_configurations"), add, facts, 1)


async def version_activated(database: Any, direct: Any) -> Case:
    await apply(direct, apps.COLLECTIONS)
    for version in ("1", "2"):
        await MongoConfigurations(direct).add(_version(version))
    first = await MongoConfigurations(direct).find("demo", _named("1"))
    assert first is not None
    await MongoConfigurations(direct).activate(first, by="ann")
    versions = MongoConfigurations(database)

    async def activate() -> None:
        app = await versions.find("demo", _named("2"))
        assert app is not None
        await versions.activate(app, by="ann")

    async def facts() -> Facts:
        active = await direct.app_configurations.find({"active": True}).to_list()
        return [one["version"] for one in active]

    return Case(updates("app_configurations"), activate, facts, ["2"])


def _schedule(**fields: Any) -> dict[str, Any]:
    return {
        "_id": "s",
        "tenant": "demo",
        "name": "nightly",
        "cron": "* * * * *",
        "timezone": "UTC",
        "overlap": "skip",
        "catch_up_seconds": 60,
        "enabled": True,
        "revision": 1,
        "anchor_at": NOW,
        "created_at": NOW,
        "created_by": "ann",
        "updated_at": NOW,
        **fields,
    }


async def schedule_created(database: Any, direct: Any) -> Case:
    await apply(direct, [schedules.COLLECTION])
    definitions = MongoDefinitions(database)

    async def add() -> None:
        await definitions.add(_schedule())

    async def facts() -> Facts:
        return await direct.schedules.count_documents({})

    return Case(updates("schedules"), add, facts, 1)


async def schedule_changed(database: Any, direct: Any) -> Case:
    await MongoDefinitions(direct).add(_schedule())
    definitions = MongoDefinitions(database)

    async def change() -> None:
        # what the use case does: it changes what differs
        view = await definitions.find("demo", "nightly")
        if view is not None and view.overlap != "queue":
            await definitions.change(view, {"overlap": "queue"})

    async def facts() -> Facts:
        stored = await direct.schedules.find_one()
        return stored["overlap"], stored["revision"]

    return Case(updates("schedules"), change, facts, ("queue", 2))


async def schedule_removed(database: Any, direct: Any) -> Case:
    await MongoDefinitions(direct).add(_schedule())
    definitions = MongoDefinitions(database)

    async def remove() -> None:
        await definitions.remove("demo", "s")

    async def facts() -> Facts:
        return await direct.schedules.count_documents({})

    return Case(updates("schedules"), remove, facts, 0)


def _timetable(database: Any) -> MongoTimetable:
    return MongoTimetable(database, owner="one", clock=ServerClock(SystemClock()))


async def turns_begun_and_taken(database: Any, direct: Any) -> Case:
    await MongoDefinitions(direct).add(_schedule())
    timetable = _timetable(database)

    async def take() -> None:
        """What a look does, twice: an executor that got no answer looks again."""
        for _ in range(2):
            ((head, state),) = await timetable.enabled()
            if state is None:
                state = await timetable.begin(head, NOW + MINUTE)
            if (
                state is not None
                and state.next_due == NOW + MINUTE
                and await timetable.claim(state)
            ):
                await timetable.advance(state, Taken("started"), NOW + 2 * MINUTE)

    async def facts() -> Facts:
        state = await direct.schedule_states.find_one()
        return state["last_due"], state["next_due"], state["claim"]

    expected = (NOW + MINUTE, NOW + 2 * MINUTE, None)
    return Case(updates("schedule_states"), take, facts, expected)


async def turns_forgotten(database: Any, direct: Any) -> Case:
    await MongoDefinitions(direct).add(_schedule())
    for id_ in ("s", "gone"):
        await direct.schedule_states.insert_one({"_id": id_, "anchor_at": NOW})
    timetable = _timetable(database)

    async def facts() -> Facts:
        return await direct.schedule_states.distinct("_id")

    return Case(updates("schedule_states"), timetable.forget, facts, ["s"])


async def _kept(direct: Any, **fields: Any) -> None:
    run = {"_id": "r", "tenant": "demo", "status": "completed"}
    await direct.executions.insert_one(run | fields)


async def run_kept(database: Any, direct: Any) -> Case:
    await _kept(direct)
    runs = MongoKeptRuns(database, clock=SystemClock())

    async def mark() -> None:
        await runs.mark("r", tenant="demo", keep=True)

    async def facts() -> Facts:
        return (await direct.executions.find_one())["keep"]

    return Case(updates("executions"), mark, facts, True)


async def children_of_a_kept_run_marked(database: Any, direct: Any) -> Case:
    await _kept(direct, keep=True)
    for number in range(2):
        child = {"_id": f"r/{number}", "tenant": "demo", "parent_id": "r", "status": "completed"}
        await direct.executions.insert_one(child)
    runs = MongoKeptRuns(database, clock=SystemClock())

    async def mark() -> None:
        assert len(await runs.mark_below(["r"], tenant="demo", keep=True)) == 2

    async def facts() -> Facts:
        return await direct.executions.count_documents({"keep": True})

    return Case(updates("executions"), mark, facts, 3)


async def metrics_of_a_kept_run_noted(database: Any, direct: Any) -> Case:
    await _kept(direct, keep=True)
    runs = MongoKeptRuns(database, clock=SystemClock())
    artifact = Artifact(0, "data", "metrics.jsonl", "text/plain", 1, "file:///x", "x")

    async def copied() -> None:
        await runs.copied("r", "demo", artifact)

    async def facts() -> Facts:
        run = await direct.executions.find_one()
        return run["metrics_kept"], await direct.execution_artifacts.count_documents({})

    def writes(message: Message) -> bool:
        return message.command == "update" and message.collection in (
            "executions",
            "execution_artifacts",
        )

    return Case(writes, copied, facts, (True, 1))


_OLD = {
    "execution_id": "old",
    "status": "completed",
    "created_at": NOW,
    "timestamp": NOW,
    "metrics": {},
}


async def history_stored(database: Any, direct: Any) -> Case:
    await apply(direct, COLLECTIONS)
    archive = MongoArchive(database)
    names = ("executions", "execution_metrics")
    items = {name: [imported(name, _OLD, tenant="demo")] for name in names}

    async def store() -> None:
        for name in names:
            assert await archive.store(name, items[name]) == {}
        await archive.move("file", 2)
        await archive.mirror("demo", source="file", on=True, at=NOW)

    async def facts() -> Facts:
        position = (await direct.history_imports.find_one({"_id": "file"}))["position"]
        # a time series has no unique index: a late sample may be there twice, which `verify` tells
        found = [len(await direct[name].distinct("_id")) for name in names]
        return *found, position, await direct.history_imports.count_documents({})

    def writes(message: Message) -> bool:
        return message.command in ("update", "insert") and message.collection in (
            *names,
            "history_imports",
        )

    return Case(writes, store, facts, (1, 1, 2, 2))


def _named(version: str) -> AppReference:
    return AppReference(name="greeting", version=version)


RECORDS = {
    app_numbered: (f"{_APPS}.number",),
    version_stored: (f"{_APPS}.add",),
    schedule_created: (f"{_SCHEDULES}.add",),
    schedule_changed: (f"{_SCHEDULES}.change",),
    schedule_removed: (f"{_SCHEDULES}.remove",),
    turns_begun_and_taken: (f"{_TIMETABLE}.begin", f"{_TIMETABLE}._change"),
    turns_forgotten: (f"{_TIMETABLE}.forget",),
    history_stored: (f"{_ARCHIVE}.store", f"{_ARCHIVE}.move", f"{_ARCHIVE}.mirror"),
    run_kept: (f"{_KEPT}.mark",),
    children_of_a_kept_run_marked: (f"{_KEPT}.mark_below",),
    metrics_of_a_kept_run_noted: (f"{_KEPT}.copied",),
    version_activated: (f"{_APPS}.activate",),
}
