"""Uploads over REST: streamed, known by their content, kept for as long as they are used."""

import asyncio
import hashlib
import os
from datetime import timedelta

import httpx
import pytest

from services.executor.repository.uploads import MongoUploads as ExecutorsUploads
from shared.clock import SystemClock
from shared.ids import new_id
from tests.builders.gateway import OTHER, RecordingSender, a_run, eventually, running

MIB = 1024 * 1024


@pytest.fixture
def spool(tmp_path):
    folder = tmp_path / "spool"
    folder.mkdir()
    return folder


@pytest.fixture
async def gateway(mongo_settings, kafka_settings, tmp_path, spool):
    parts = {"sender": RecordingSender()}
    async with running(
        mongo_settings,
        kafka_settings,
        tmp_path / "objects",
        parts=parts,
        spool_dir=spool,
        max_upload_bytes=8 * MIB,
        upload_sweep_seconds=0.1,
        uploads_at_once=2,
    ) as it:
        yield it


def stored_objects(tmp_path):
    return [path for path in (tmp_path / "objects").rglob("uploads/*") if path.is_file()]


def sha256_of(data):
    return hashlib.sha256(data).hexdigest()


async def upload(gateway, data, **options):
    return await gateway.client.post("/v1/uploads", content=data, **options)


async def test_a_file_larger_than_other_bodies_goes_in_once(gateway, tmp_path, spool):
    data = os.urandom(6 * MIB)

    async def pieces():
        for start in range(0, len(data), 100_000):
            yield data[start : start + 100_000]

    answers = [
        await upload(gateway, pieces(), params={"name": "suite.tar.gz"}),
        await upload(gateway, data, params={"sha256": sha256_of(data)}),
    ]
    assert [answer.status_code for answer in answers] == [201, 200]
    first, second = (answer.json() for answer in answers)
    assert first["sha256"] == sha256_of(data) == second["sha256"]
    assert (first["size_bytes"], first["name"], first["created_by"]) == (
        6 * MIB,
        "suite.tar.gz",
        "demo",
    )
    assert answers[0].headers["location"] == f"/v1/uploads/{sha256_of(data)}"
    (stored,) = stored_objects(tmp_path)
    assert stored.read_bytes() == data
    found = await ExecutorsUploads(gateway.database).find("demo", sha256_of(data))
    assert found.uri == f"file://{stored}"
    assert list(spool.iterdir()) == []
    assert (await gateway.client.get(answers[0].headers["location"])).json() == second


async def test_uploads_at_the_same_time_are_one(gateway, tmp_path):
    data = os.urandom(MIB)
    answers = await asyncio.gather(*(upload(gateway, data) for _ in range(2)))
    assert sorted(answer.status_code for answer in answers) == [200, 201]
    assert len(stored_objects(tmp_path)) == 1
    assert await gateway.database["uploads"].count_documents({}) == 1


async def test_lists_walls_and_removal(gateway, tmp_path):
    shas = [(await upload(gateway, f"file {n}".encode())).json()["sha256"] for n in range(5)]
    page = (await gateway.client.get("/v1/uploads", params={"limit": 3})).json()
    assert [one["sha256"] for one in page["items"]] == shas[:1:-1]
    rest = (await gateway.client.get("/v1/uploads", params={"cursor": page["next_cursor"]})).json()
    assert [one["sha256"] for one in rest["items"]] == shas[1::-1]
    here = f"/v1/uploads/{shas[0]}"
    assert (await gateway.client.get("/v1/uploads", headers=OTHER)).json()["items"] == []
    assert (await gateway.client.get(here, headers=OTHER)).status_code == 404
    assert (await gateway.client.delete(here, headers=OTHER)).status_code == 404
    assert (await upload(gateway, b"file 0", headers=OTHER)).status_code == 201
    assert (await gateway.client.delete(here)).status_code == 204
    assert (await gateway.client.delete(here)).status_code == 404
    assert (await gateway.client.get(here)).status_code == 404
    assert (await gateway.client.get(here, headers=OTHER)).status_code == 200
    assert len(stored_objects(tmp_path)) == 5
    assert (await upload(gateway, b"file 0")).status_code == 201

    async def noted():
        wanted = {"action": "upload.delete", "target": f"upload/{shas[0]}", "tenant": "demo"}
        return await gateway.database["audit_logs"].find_one(wanted)

    assert await eventually(noted)


async def test_bad_uploads_are_refused_and_leave_nothing(gateway, tmp_path, spool):
    async def more_than_allowed():
        for _ in range(100):
            yield bytes(100_000)

    too_long = await upload(gateway, more_than_allowed())
    assert (too_long.status_code, too_long.json()["code"]) == (413, "too_large")
    declared = await upload(gateway, bytes(8 * MIB + 1))
    assert declared.status_code == 413
    cases = [
        (b"", {}, "body"),
        (b"x", {"sha256": "0" * 64}, "sha256"),
        (b"x", {"sha256": "nonsense"}, "query.sha256"),
        (b"x", {"name": ""}, "query.name"),
    ]
    for data, params, field in cases:
        answer = await upload(gateway, data, params=params)
        assert answer.status_code == 422, params
        assert answer.json()["errors"][0]["field"] == field
    assert (await upload(gateway, b"x", headers={"X-API-Key": ""})).status_code == 401
    assert (await gateway.client.get("/v1/uploads/nonsense")).status_code == 422
    other = await gateway.client.post("/v1/executions", content=bytes(5 * MIB))
    assert other.status_code == 413, "other bodies stay small"
    assert stored_objects(tmp_path) == []
    assert list(spool.iterdir()) == []
    assert await gateway.database["uploads"].count_documents({}) == 0


async def test_a_client_that_goes_away_leaves_nothing(gateway, tmp_path, spool):
    begun = asyncio.Event()

    async def breaking():
        yield bytes(200_000)
        begun.set()
        await asyncio.sleep(0.1)
        raise httpx.ReadError("the client's network has gone")

    with pytest.raises(httpx.ReadError):
        await upload(gateway, breaking())
    assert begun.is_set()

    async def empty():
        return list(spool.iterdir()) == []

    await eventually(empty)
    assert await gateway.database["uploads"].count_documents({}) == 0
    assert (await upload(gateway, b"next")).status_code == 201, "its place is free again"


async def test_only_so_many_at_once(gateway):
    release = asyncio.Event()
    started = 0

    async def slow(n):
        nonlocal started
        yield b"begin"
        started += 1
        await release.wait()
        yield str(n).encode()

    waiting = [asyncio.create_task(upload(gateway, slow(n))) for n in range(2)]

    async def refused():
        if started < 2:
            return False
        answer = await upload(gateway, b"one more")
        assert answer.status_code in (201, 503)
        return answer.status_code == 503 and answer

    answer = await eventually(refused)
    assert int(answer.headers["retry-after"]) >= 1
    release.set()
    assert [(await task).status_code for task in waiting] == [201, 201]


def with_upload(sha256):
    body = a_run()
    body["plan"]["sources"] = [{"type": "upload", "sha256": sha256}]
    return body


async def test_a_run_may_only_name_what_is_there_and_keeps_it(gateway):
    sha = (await upload(gateway, b"an archive")).json()["sha256"]
    soon = SystemClock().now() + timedelta(minutes=1)
    await gateway.database["uploads"].update_one({"sha256": sha}, {"$set": {"expires_at": soon}})
    assert (await gateway.submit(with_upload(sha))).status_code == 202
    kept = (await gateway.client.get(f"/v1/uploads/{sha}")).json()
    assert kept["expires_at"] > (soon + timedelta(days=29)).isoformat()
    for path in ("/v1/executions", "/v1/executions/validate"):
        answer = await gateway.client.post(path, json=with_upload("0" * 64))
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == "plan.sources[0].sha256"
        walls = await gateway.client.post(path, json=with_upload(sha), headers=OTHER)
        assert walls.status_code == 422


async def test_tables_and_plans_within_plans_name_uploads_too(gateway):
    sha = (await upload(gateway, b"name\nann\n")).json()["sha256"]
    inner = {"name": "inner", "steps": a_run()["plan"]["steps"]}
    outer = {"name": "sub", "command": {"type": "plan", "plan": inner}}
    within = a_run()
    within["plan"]["steps"] = [outer]
    for body, holder, field in (
        (within, inner, "plan.steps[0].command.plan.data.upload"),
        (table := a_run(), table["plan"], "plan.data.upload"),
    ):
        for named, code in ((sha, 202), ("0" * 64, 422)):
            holder["data"] = {"upload": named, "format": "csv"}
            answer = await gateway.submit(body)
            assert answer.status_code == code, answer.text
        assert answer.json()["errors"][0]["field"] == field
        holder["data"]["upload"] = sha
        walls = await gateway.client.post("/v1/executions", json=body, headers=OTHER)
        assert walls.status_code == 422


async def test_what_nobody_has_used_for_long_is_removed_bytes_included(gateway, tmp_path):
    now = SystemClock().now()
    unused, used, table, left = [
        (await upload(gateway, name)).json()["sha256"]
        for name in (b"unused", b"used", b"table", b"left")
    ]
    run = {"tenant": "demo", "created_at": now - timedelta(days=2)}
    await gateway.database["executions"].insert_many(
        [
            {**run, "_id": new_id(), "sources": [{"sha256": used}]},
            {**run, "_id": new_id(), "table_sha256": table},
        ]
    )
    records = gateway.database["uploads"]
    await records.update_one({"sha256": left}, {"$set": {"state": "storing"}})
    await records.update_many({}, {"$set": {"expires_at": now - timedelta(days=3)}})

    async def swept():
        return {one["sha256"] async for one in records.find()} == {used, table}

    await eventually(swept)
    kept = (await gateway.client.get(f"/v1/uploads/{used}")).json()
    assert kept["expires_at"] > (now + timedelta(days=27)).isoformat()
    assert {path.read_bytes() for path in stored_objects(tmp_path)} == {b"used", b"table"}
    assert (await gateway.client.get(f"/v1/uploads/{unused}")).status_code == 404


async def test_bytes_that_were_lost_come_back_with_the_next_upload(gateway, tmp_path):
    sha = (await upload(gateway, b"content")).json()["sha256"]
    (stored,) = stored_objects(tmp_path)
    stored.unlink()
    again = await upload(gateway, b"content")
    assert (again.status_code, again.json()["sha256"]) == (201, sha)
    assert [path.read_bytes() for path in stored_objects(tmp_path)] == [b"content"]
