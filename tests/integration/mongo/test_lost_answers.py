"""Writes that no chain of `tests/promises/lost_answers` comes by: each with its answer lost, never sent, and late.

Whoever gets an error does what the service does then: the same call again. Afterwards everything is as if nothing had
been. `tests/architecture` compares `CASES` with the code.
"""

import asyncio
import itertools
import os
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from pymongo import AsyncMongoClient

from services.executor.repository.ageing import MongoRecords
from services.gateway.models import Accepted, Publication
from services.gateway.repository.accepted import MongoAcceptedEvents
from services.gateway.repository.tenant_values import MongoTenantValues
from services.gateway.repository.uploads import COLLECTION as UPLOADS
from services.gateway.repository.uploads import MongoUploads
from services.proxy.models import FIRST_POSITION
from services.proxy.repository import MongoSessions
from services.scanner.models import Scope
from services.scanner.repository import MongoResources
from shared.clock import SystemClock
from shared.errors import NotFound, StorageUnavailable
from shared.events.proxy import ProxyEvent
from shared.ids import new_id, uuid7
from shared.kafka.pausing import Pause
from shared.mongo.consumer_states import MongoFailureWindow, resume, states
from shared.mongo.indexes import apply
from shared.mongo.redrives import MongoRedrives
from shared.objects.gridfs import GridFsStore
from shared.views.uploads import UploadView
from shared.work.ports import Added, NewItem, Work
from shared.work.queue import build_work
from tests.builders.work import Remembering, item, queue
from tests.integration.mongo.lost_answers import NOW, Case, Facts, commands, updates
from tests.integration.mongo.lost_answers_records import RECORDS
from tests.promises.wire import Fault, Wire
from tests.unit.scanner.fakes import a_resource

pytestmark = pytest.mark.breaks
EAST = Scope("111111111111", "us-east-1", "ec2")


def accepted(id_: str, **more: Any) -> Accepted:
    return Accepted(
        id=id_,
        tenant="demo",
        topic="run-requested",
        key=id_,
        subject=id_,
        content_hash="0",
        accepted_at=NOW,
        body=b"{}",
        **more,
    )


_INGEST = "shared/work/ingest.py:Ingest"
_GATEWAY = "services/gateway/repository/accepted.py:MongoAcceptedEvents"
_VALUES = "services/gateway/repository/tenant_values.py:MongoTenantValues"
_UPLOADS = "services/gateway/repository/uploads.py:MongoUploads"
_PROXY = "services/proxy/repository.py:MongoSessions"
_RECORDS = "services/executor/repository/ageing.py:MongoRecords"
_STATES = "shared/mongo/consumer_states.py:MongoFailureWindow"
_REDRIVES = "shared/mongo/redrives.py:MongoRedrives"
_GRIDFS = "shared/objects/gridfs.py:GridFsStore"
_SCANNER = "services/scanner/repository.py:MongoResources"


async def _gateway(database: Any, **more: Any) -> MongoAcceptedEvents:
    events = MongoAcceptedEvents(database, max_waiting=10)
    await events.add(accepted("a", **more))
    return events


async def request_published_again(database: Any, direct: Any) -> Case:
    events = await _gateway(direct)
    await events.mark([Publication("a", partition=1, offset=2)], NOW)
    through = MongoAcceptedEvents(database, max_waiting=10)

    async def again() -> None:
        # what the reconciler does: only what is published and unsettled
        if await through.unsettled(NOW + timedelta(days=1), 10):
            await through.reopen(["a"])

    async def facts() -> Facts:
        found = await direct.accepted_events.find_one()
        return found["republished"], found["pending"], "offset" in found

    return Case(updates("accepted_events"), again, facts, (1, True, False))


async def key_released(database: Any, direct: Any) -> Case:
    await _gateway(direct, idempotency_key="k", key_expires_at=NOW)
    through = MongoAcceptedEvents(database, max_waiting=10)

    async def facts() -> Facts:
        return await direct.accepted_events.count_documents({"idempotency_key": "k"})

    return Case(
        updates("accepted_events"),
        lambda: through.release_key("a"),
        facts,
        0,
    )


async def value_set(database: Any, direct: Any) -> Case:
    await MongoTenantValues(direct, "variables", clock=SystemClock()).put("t", "a", "x", by="ann")
    through = MongoTenantValues(database, "variables", clock=SystemClock())

    async def facts() -> Facts:
        return [(v["_id"], v["value"]) async for v in direct.variables.find()]

    return Case(
        updates("variables"),
        lambda: through.put("t", "a", "y", by="ann"),
        facts,
        [("t/a", "y")],
    )


async def value_removed(database: Any, direct: Any) -> Case:
    await MongoTenantValues(direct, "variables", clock=SystemClock()).put("t", "a", "x", by="ann")
    through = MongoTenantValues(database, "variables", clock=SystemClock())

    async def facts() -> Facts:
        return await direct.variables.count_documents({})

    return Case(updates("variables"), lambda: through.remove("t", "a"), facts, 0)


def an_upload() -> UploadView:
    return UploadView(sha256="a" * 64, size_bytes=1, created_at=NOW, created_by="ann")


async def upload_stored(database: Any, direct: Any) -> Case:
    await apply(direct, [UPLOADS])
    through = MongoUploads(database)

    async def store() -> None:
        await through.begin("u", "t", key="k", expires_at=NOW)
        assert await through.finish("u", an_upload(), uri="file:///k")

    async def facts() -> Facts:
        return [(one["_id"], one["state"], one["uri"]) async for one in direct.uploads.find()]

    return Case(updates("uploads"), store, facts, [("u", "stored", "file:///k")])


async def upload_removed(database: Any, direct: Any) -> Case:
    await apply(direct, [UPLOADS])
    before, through = MongoUploads(direct), MongoUploads(database)
    await before.begin("u", "t", key="k", expires_at=NOW)
    await before.finish("u", an_upload(), uri="file:///k")
    await before.prolong("t", ["a" * 64], NOW + timedelta(days=1))

    async def remove() -> None:
        await through.prolong("t", ["a" * 64], NOW + timedelta(days=1))
        await through.begin_removal("t", "a" * 64, until=NOW)
        await through.drop("u")

    async def facts() -> Facts:
        return await direct.uploads.count_documents({})

    return Case(updates("uploads"), remove, facts, 0)


def an_event(id_: str) -> ProxyEvent:
    return ProxyEvent(
        id=new_id(),
        tenant="demo",
        occurred_at=SystemClock().now(),
        type="command.executed",
        command="step-wait.time",
        session_id=id_,
        actor="ann",
        created={},
        upstream_status=200,
    )


def _sessions(database: Any) -> MongoSessions:
    return MongoSessions(database, clock=SystemClock(), idle_seconds=60, turn_seconds=45)


async def _session(direct: Any) -> tuple[str, Callable[[], Awaitable[Facts]]]:
    made = await _sessions(direct).add(tenant="demo", context={"checkpoint_id": 7}, metadata={})

    async def facts() -> Facts:
        found = await direct.proxy_sessions.find_one({"_id": made.id})
        moved = found["next_position"] - FIRST_POSITION
        return moved, len(found["events"]), "turn" in found, found["ended"]

    return made.id, facts


async def session_opened(database: Any, direct: Any) -> Case:
    """The caller learns no id of one whose answer was lost: such a session idles away."""
    made: list[Any] = []

    async def open_one() -> None:
        made.append(await _sessions(database).add(tenant="demo", context={}, metadata={}))

    async def facts() -> Facts:
        return (await _sessions(direct).get(made[0].id, tenant="demo")).id == made[0].id

    return Case(updates("proxy_sessions"), open_one, facts, True)


async def session_pointed(database: Any, direct: Any) -> Case:
    id_, facts = await _session(direct)
    turn = await _sessions(direct).take_turn(id_, tenant="demo")
    await _sessions(direct).end_turn(turn, advance=True)
    return Case(
        updates("proxy_sessions"),
        lambda: _sessions(database).change(id_, tenant="demo", context={"checkpoint_id": 8}),
        facts,
        (0, 0, False, False),
    )


async def session_ended(database: Any, direct: Any) -> Case:
    id_, facts = await _session(direct)

    async def end() -> None:
        try:
            await _sessions(database).end(id_, tenant="demo")
        except NotFound:  # the first try went through
            return

    return Case(updates("proxy_sessions"), end, facts, (0, 0, False, True))


async def turn_taken_and_ended(database: Any, direct: Any) -> Case:
    """The n-th write of both is struck: the position moves once, the event is there once, the turn is free."""
    id_, facts = await _session(direct)
    event = an_event(id_)

    async def command() -> None:
        sessions = _sessions(database)
        turn = await sessions.take_turn(id_, tenant="demo")
        assert turn is not None, "its own turn is not in its way"
        await sessions.end_turn(turn, advance=True, event=event)

    return Case(
        updates("proxy_sessions"),
        command,
        facts,
        (1, 1, False, False),
    )


async def turn_ended(database: Any, direct: Any) -> Case:
    id_, facts = await _session(direct)
    event = an_event(id_)
    turn = await _sessions(direct).take_turn(id_, tenant="demo")
    return Case(
        updates("proxy_sessions"),
        lambda: _sessions(database).end_turn(turn, advance=True, event=event),
        facts,
        (1, 1, False, False),
    )


async def command_noted(database: Any, direct: Any) -> Case:
    id_, facts = await _session(direct)
    event = an_event(id_)
    return Case(
        updates("proxy_sessions"),
        lambda: _sessions(database).note(id_, tenant="demo", event=event),
        facts,
        (0, 1, False, False),
    )


async def event_of_a_command_cleared(database: Any, direct: Any) -> Case:
    id_, facts = await _session(direct)
    first, second = an_event(id_), an_event(id_)
    for event in (first, second):
        await _sessions(direct).note(id_, tenant="demo", event=event)
    return Case(
        updates("proxy_sessions"),
        lambda: _sessions(database).published({id_: [first.id]}),
        facts,
        (0, 1, False, False),
    )


async def resources_found(database: Any, direct: Any) -> Case:
    things = [a_resource(f"i-{number}", EAST) for number in range(3)]

    async def facts() -> Facts:
        found = await direct.resources.find().to_list()
        return [(one["identifier"], one["first_seen"] <= one["last_synced"]) for one in found]

    return Case(
        updates("resources"),
        lambda: MongoResources(database).upsert(things, tenant="demo", scope=EAST, scan_id="s"),
        facts,
        [(f"i-{number}", True) for number in range(3)],
    )


async def resources_swept(database: Any, direct: Any) -> Case:
    """What another scan finds between the two tries stays."""
    resources = MongoResources(direct)
    await resources.upsert([a_resource("old", EAST)], tenant="demo", scope=EAST, scan_id="s")
    await asyncio.sleep(0.01)
    began = await resources.server_time()
    await resources.upsert([a_resource("new", EAST)], tenant="demo", scope=EAST, scan_id="t")

    async def facts() -> Facts:
        return [one["identifier"] async for one in direct.resources.find()]

    return Case(
        updates("resources"),
        lambda: MongoResources(database).sweep(EAST, tenant="demo", unseen_since=began),
        facts,
        ["new"],
    )


async def _runs(direct: Any) -> list[str]:
    at = int((NOW - timedelta(days=400)).timestamp() * 1000)
    ids = [str(uuid7(at, number.to_bytes(10, "big"))) for number in range(3)]
    await direct.executions.insert_one({"_id": ids[0], "status": "completed", "events": []})
    await direct.executions.insert_one({"_id": ids[1], "status": "running", "events": []})
    await direct.execution_steps.insert_many(
        [{"_id": f"{id_}/1", "execution_id": id_, "step_id": 1} for id_ in ids]
    )
    return ids


async def runs_removed(database: Any, direct: Any) -> Case:
    ids = await _runs(direct)
    records = MongoRecords(database)

    async def remove() -> None:
        await records.remove_steps(ids[:1])
        await records.remove_runs(ids[:2])

    async def facts() -> Facts:
        steps = await direct.execution_steps.distinct("execution_id")
        return await direct.executions.distinct("_id"), steps

    return Case(
        lambda message: message.command == "delete",
        remove,
        facts,
        ([ids[1]], sorted(ids[1:])),
    )


async def orphans_removed(database: Any, direct: Any) -> Case:
    ids = await _runs(direct)
    records = MongoRecords(database)

    async def facts() -> Facts:
        seen = await direct.execution_sweeps.find_one()
        return await direct.execution_steps.distinct("execution_id"), seen["up_to"] in ids[1:]

    return Case(
        lambda message: message.command in ("delete", "update"),
        lambda: records.remove_orphaned_steps(NOW),
        facts,
        (sorted(ids[:2]), True),
    )


async def pause_and_resume(database: Any, direct: Any) -> Case:
    """A pause that comes late stands there until it is stale: whoever reads it knows its last probe."""
    window = MongoFailureWindow(database, "g", limit=2, seconds=60)

    async def go() -> None:
        await window.paused(Pause("t", 0, 1, "why", NOW, NOW, 0))
        await resume(database, "g")
        await window.resumed()

    async def facts() -> Facts:
        (state,) = await states(direct)
        return len(state["pauses"]) <= 1, state["failures"], state["resumes"] >= 1

    return Case(
        updates("consumers"),
        go,
        facts,
        (True, [], True),
    )


async def failure_counted(database: Any, direct: Any) -> Case:
    """Twice at most: the limit is reached a little early, never late."""
    window = MongoFailureWindow(database, "g", limit=5, seconds=60)

    async def facts() -> Facts:
        (state,) = await states(direct)
        return len(state["failures"]) in (1, 2)

    return Case(updates("consumers"), window.add, facts, True)


async def letter_redriven(database: Any, direct: Any) -> Case:
    """Who got no answer to `begin` is told to wait: nothing is sent twice by accident."""
    notes = MongoRedrives(database)
    said: list[str] = []

    async def drive() -> None:
        said.append(await notes.begin("letter", by="ann", again=False))
        if said[-1] == "go":
            await notes.end("letter", partition=1, offset=2)

    async def facts() -> Facts:
        found = await direct.redrives.find().to_list()
        return len(found), found[0]["times"], said[-1] in ("go", "busy", "sent")

    return Case(
        updates("redrives"),
        drive,
        facts,
        (1, 1, True),
    )


async def refused_letter_forgotten(database: Any, direct: Any) -> Case:
    await MongoRedrives(direct).begin("letter", by="ann", again=False)

    async def facts() -> Facts:
        return await direct.redrives.count_documents({})

    return Case(
        updates("redrives"),
        lambda: MongoRedrives(database).forget("letter"),
        facts,
        0,
    )


async def _objects(
    direct: Any, *, spare: int = 0
) -> tuple[GridFsStore, Callable[[], Awaitable[Facts]]]:
    store = GridFsStore(direct, "lake")
    await store.put("demo/old", b"old")

    async def facts() -> Facts:
        await store.sweep(grace=timedelta(0))
        heads = {head["_id"]: head["file"] async for head in direct.lake.heads.find()}
        files = await direct.lake.files.distinct("_id")
        assert set(heads.values()) <= set(files), "none is missing"
        assert len(files) - len(heads) <= spare, "none is left"
        return {name: await store.get(name) for name in heads}

    return store, facts


async def object_replaced(database: Any, direct: Any) -> Case:
    """A replacement that comes late takes the place of the later one, whose file nobody knows then."""
    _, facts = await _objects(direct, spare=1)
    through = GridFsStore(database, "lake")
    through._indexed = True
    return Case(
        lambda message: (
            message.collection in ("lake.heads", "lake.files")
            and message.command in ("findAndModify", "update")
        ),
        lambda: through.put("demo/old", b"new"),
        facts,
        {"demo/old": b"new"},
    )


async def object_deleted(database: Any, direct: Any) -> Case:
    _, facts = await _objects(direct)
    return Case(
        commands("lake.heads", "findAndModify"),
        lambda: GridFsStore(database, "lake").delete("demo/old"),
        facts,
        {},
    )


async def object_put_if(database: Any, direct: Any) -> Case:
    """Who got no answer looks again, as the lake does: what is there is its own."""
    store, facts = await _objects(direct)
    through = GridFsStore(database, "lake")
    through._indexed = True

    async def put() -> None:
        for key, etag in (("demo/old", (await store.info("demo/old")).etag), ("demo/new", None)):
            if key == "demo/new" and [one async for one in store.list("demo/new")]:
                return
            await through.put_if(key, b"mine", etag=etag)

    return Case(
        commands("lake.heads", "update", "insert"),
        put,
        facts,
        {"demo/old": b"mine", "demo/new": b"mine"},
    )


def _conflicting(name: str, steps: int) -> NewItem:
    children = [{"_id": f"x/{n}", "execution_id": "x", "step_name": name} for n in range(steps)]
    return item(name, id="x", children=children)


async def _steps_are_the_second_ones(direct: Any) -> Facts:
    steps = await direct.job_steps.find().sort("_id", 1).to_list()
    return [step["step_name"] for step in steps], await direct.jobs.count_documents({})


def _worker(database: Any) -> Work:
    return build_work(database, queue(), publisher=Remembering(), owner="one").work


async def _left_steps(direct: Any) -> None:
    """Somebody has brought other content under the same id, and died before its item was there."""
    mine = _conflicting("a", 3)
    hashed = {"tenant": mine.tenant, "content_hash": mine.content_hash}
    await direct.job_steps.insert_many([{**child, **hashed} for child in mine.children])


async def steps_of_other_content_replaced(database: Any, direct: Any) -> Case:
    await _left_steps(direct)
    work = _worker(database)

    async def add() -> None:
        await work.add([_conflicting("b", 3)])

    return Case(
        commands("job_steps", "update"),
        add,
        lambda: _steps_are_the_second_ones(direct),
        (["b"] * 3, 1),
    )


async def steps_of_a_conflict_removed(database: Any, direct: Any) -> Case:
    await _worker(direct).add([_conflicting("b", 2)])
    await _left_steps_beyond(direct)
    work = _worker(database)

    async def add() -> None:
        assert await work.add([_conflicting("a", 3)]) == [Added.CONFLICT]

    return Case(
        commands("job_steps", "delete"),
        add,
        lambda: _steps_are_the_second_ones(direct),
        (["b"] * 2, 1),
    )


async def _left_steps_beyond(direct: Any) -> None:
    mine = _conflicting("a", 3)
    hashed = {"tenant": mine.tenant, "content_hash": mine.content_hash}
    await direct.job_steps.insert_one({**mine.children[2], **hashed})


CASES = {
    **RECORDS,
    steps_of_other_content_replaced: (f"{_INGEST}._replace_children",),
    steps_of_a_conflict_removed: (f"{_INGEST}._remove_children",),
    request_published_again: (f"{_GATEWAY}.reopen",),
    key_released: (f"{_GATEWAY}.release_key",),
    upload_stored: (f"{_UPLOADS}.begin", f"{_UPLOADS}.finish"),
    upload_removed: (
        f"{_UPLOADS}.prolong",
        f"{_UPLOADS}.begin_removal",
        f"{_UPLOADS}.drop",
    ),
    value_set: (f"{_VALUES}._put",),
    value_removed: (f"{_VALUES}.remove",),
    session_opened: (f"{_PROXY}.add",),
    session_pointed: (f"{_PROXY}.change",),
    session_ended: (f"{_PROXY}.end",),
    turn_taken_and_ended: (f"{_PROXY}.take_turn", f"{_PROXY}.end_turn"),
    turn_ended: (f"{_PROXY}.end_turn",),
    command_noted: (f"{_PROXY}.note",),
    event_of_a_command_cleared: (f"{_PROXY}.published",),
    resources_found: (f"{_SCANNER}.upsert",),
    resources_swept: (f"{_SCANNER}.sweep",),
    runs_removed: (f"{_RECORDS}.remove_runs", f"{_RECORDS}._remove"),
    orphans_removed: (f"{_RECORDS}.remove_orphaned_steps",),
    pause_and_resume: (
        f"{_STATES}.paused",
        f"{_STATES}.resumed",
        "shared/mongo/consumer_states.py:resume",
    ),
    failure_counted: (f"{_STATES}.add",),
    letter_redriven: (f"{_REDRIVES}.begin", f"{_REDRIVES}._is_first", f"{_REDRIVES}.end"),
    refused_letter_forgotten: (f"{_REDRIVES}.forget",),
    object_replaced: (f"{_GRIDFS}._store", f"{_GRIDFS}._mark"),
    object_deleted: (f"{_GRIDFS}.delete",),
    object_put_if: (f"{_GRIDFS}._swing_if",),
}
"""The functions that send what each is about."""


FAULTS = (Fault.LOST_ANSWER, Fault.NEVER_SENT, Fault.LATE)
SEED = int(os.environ.get("SEED") or random.randrange(10**6))


EVERY = list(itertools.product(FAULTS, (0, 1)))


@pytest.mark.parametrize(
    "place", ["seeded", *(pytest.param(n, marks=pytest.mark.chaos) for n in range(len(EVERY)))]
)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
async def test_the_same_call_again_makes_it_whole(
    mongo_process, mongo_settings, mongo_database, case, place
):
    """`skip`: the second of its writes is struck; a case with one write is then not struck at all."""
    seeded = random.Random(f"{SEED} {case.__name__}").choice(EVERY)
    fault, skip = seeded if place == "seeded" else EVERY[place]
    print(f"seed {SEED}: {fault.name}, skip {skip}")
    with Wire(mongo_process.port) as wire:
        async with AsyncMongoClient(wire.uri, w="majority", journal=True, tz_aware=True) as client:
            it = await case(client[mongo_settings.database], mongo_database)
            rule = wire.on(it.writes, fault, skip=skip)
            for _ in range(3):
                try:
                    await it.act()
                    break
                except StorageUnavailable:
                    continue
            if fault is Fault.LATE and rule.happened:
                rule.release()
                assert await asyncio.to_thread(rule.delivered.wait, 10)
            assert await it.facts() == it.expected
            assert rule.happened or skip
