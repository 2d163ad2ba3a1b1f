"""Writer and index on a local folder: what lies where after which story."""

import asyncio
import io
import json
import random

import pyarrow.parquet as pq
import pytest

from services.extractor.errors import Overtaken
from services.extractor.lake.canonical import sha256
from services.extractor.lake.index import LakeIndex
from services.extractor.lake.writer import LakeWriter, Stored
from shared.objects.local import LocalStore
from tests.builders.extractions import EXTRACTED, a_bundle, a_record, changed_execution, sample


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path, sync=False)


async def keys_of(store, prefix="demo/lake"):
    return {info.key async for info in store.list(prefix)}


async def etags_of(store):
    return {info.key: info.etag async for info in store.list("demo/lake")}


async def rows_of(store, record):
    return (await LakeIndex(store).read(record.keys)).to_pylist()


def another(record_id=88715, **changes):
    return a_record(a_bundle(execution=changed_execution(id=record_id, **changes)))


async def test_a_first_version(store):
    record = a_record()
    stored = await LakeWriter(store).store(record, fence=1, confirmed=None)
    assert stored.status == "completed"
    body = await store.get("demo/lake/customer-001/2024/07/16/execution-88715.json")
    assert json.loads(body) == record.envelope
    assert stored.row["sha256"] == sha256(body)
    raw = await store.get(
        "demo/lake/customer-001/2024/07/16/execution-88715.raw/execution-88715.json"
    )
    assert raw == record.raw["execution-88715"]
    schema = await store.get("demo/lake/_schemas/execution-v1.json")
    assert json.loads(schema)["title"].startswith("Virtuoso execution")
    assert set(stored.row["objects"]) <= await keys_of(store)
    assert stored.uri.endswith("customer-001/2024/07/16/execution-88715.json")
    (row,) = await rows_of(store, record)
    assert (row["execution_id"], row["revision"], row["passed"]) == (88715, 1, 15)
    assert row["version"] == record.version


async def test_an_unchanged_version_writes_nothing(store):
    await LakeWriter(store).store(a_record(), fence=1, confirmed=None)
    before = await etags_of(store)
    stored = await LakeWriter(store).store(a_record(), fence=1, confirmed=1)
    assert stored.status == "unchanged"
    assert await etags_of(store) == before


async def test_a_change_is_a_second_version_and_the_first_stays(store):
    writer = LakeWriter(store)
    first, second = a_record(), another(outcome="FAIL")
    await writer.store(first, fence=1, confirmed=None)
    stored = await writer.store(second, fence=1, confirmed=1)
    assert stored.row["revision"] == 2
    copy = await store.get(first.keys.envelope(first.day, 88715))
    assert json.loads(copy)["execution"]["outcome"] == "FAIL"
    old = await store.get(first.keys.version_envelope(88715, first.version))
    assert json.loads(old)["execution"]["outcome"] == "PASS"
    (row,) = await rows_of(store, first)
    assert (row["revision"], row["version"]) == (2, second.version)
    again = await writer.store(first, fence=1, confirmed=2)
    assert (again.status, again.row["revision"]) == ("completed", 3)
    assert json.loads(await store.get(again.row["key"]))["execution"]["outcome"] == "PASS"


async def test_two_writers_of_one_version_make_one(store):
    results = await asyncio.gather(
        *(LakeWriter(store).store(a_record(), fence=1, confirmed=None) for _ in range(8))
    )
    assert {one.row["revision"] for one in results} == {1}
    assert len(await rows_of(store, a_record())) == 1


async def test_of_writers_with_different_versions_the_last_claim_wins(store):
    seed = random.randrange(10**9)
    print("seed", seed)
    records = [(fence, another(tags=[str(fence)])) for fence in range(6)]
    random.Random(seed).shuffle(records)
    results = await asyncio.gather(
        *(LakeWriter(store).store(one, fence=fence, confirmed=None) for fence, one in records),
        return_exceptions=True,
    )
    assert all(isinstance(one, Stored | Overtaken) for one in results), results
    last = dict(records)[5]
    row = await LakeWriter(store).row(last.keys, 88715)
    assert (row["fence"], row["version"]) == (5, last.version)
    assert sha256(await store.get(row["key"])) == row["sha256"]
    (indexed,) = await rows_of(store, last)
    assert indexed["version"] == last.version


async def test_a_former_lease_holder_that_wakes_up_changes_nothing(store):
    await LakeWriter(store).store(another(outcome="FAIL"), fence=2, confirmed=None)
    before = await etags_of(store)
    with pytest.raises(Overtaken):
        await LakeWriter(store).store(a_record(), fence=1, confirmed=None)
    assert await etags_of(store) == before


async def test_what_a_crash_left_out_is_made_good(store):
    record = a_record()
    await LakeWriter(store).store(record, fence=1, confirmed=None)
    for key in await keys_of(store):
        if "/index/deltas/" in key or "/2024/" in key:
            await store.delete(key)
    stored = await LakeWriter(store).store(record, fence=1, confirmed=None)
    assert (stored.status, stored.row["revision"]) == ("completed", 1)
    assert set(stored.row["objects"]) <= await keys_of(store)
    assert len(await rows_of(store, record)) == 1


async def test_a_merge_takes_deltas_in_and_leaves_the_seeds_layout(store):
    writer, index = LakeWriter(store), LakeIndex(store)
    records = [another(id_) for id_ in (88715, 88716, 88717)]
    for record in records:
        await writer.store(record, fence=1, confirmed=None)
    keys = records[0].keys
    merged = await index.merge(keys)
    assert (merged.rows, merged.fresh, merged.generation) == (3, 3, 1)
    assert not [key for key in await keys_of(store) if "/deltas/" in key]
    table = pq.read_table(io.BytesIO(await store.get(keys.parquet)))
    assert sorted(table["execution_id"].to_pylist()) == [88715, 88716, 88717]
    day = json.loads(await store.get(keys.metadata(records[0].day)))
    assert day["executions"] == 3
    assert day["results"] == {"passed": 45, "failed": 0, "skipped": 0}
    assert [one["execution_id"] for one in day["files"]] == [88715, 88716, 88717]
    assert await index.merge(keys) is None
    await writer.store(another(outcome="FAIL"), fence=1, confirmed=1)
    assert (await index.merge(keys)).rows == 3
    assert sorted(row["outcome"] for row in await rows_of(store, records[0])) == [
        "FAIL", "PASS", "PASS",
    ]  # fmt: skip


async def test_merges_at_once_lose_no_row(store):
    writer = LakeWriter(store)
    keys = a_record().keys
    indexes = [LakeIndex(store) for _ in range(4)]
    for start in range(1, 40, 8):
        await asyncio.gather(
            *(writer.store(another(start + place), fence=1, confirmed=None) for place in range(8)),
            *(index.merge(keys) for index in indexes),
        )
    while await indexes[0].merge(keys):
        pass
    table = pq.read_table(io.BytesIO(await store.get(keys.parquet)))
    assert sorted(table["execution_id"].to_pylist()) == list(range(1, 41))


async def test_a_late_delta_of_an_old_revision_changes_nothing(store):
    writer, index = LakeWriter(store), LakeIndex(store)
    first = a_record()
    await writer.store(first, fence=1, confirmed=None)
    delta = await store.get(first.keys.delta(88715, 1))
    await writer.store(another(outcome="FAIL"), fence=1, confirmed=1)
    await index.merge(first.keys)
    await store.put(first.keys.delta(88715, 1), delta)
    await index.merge(first.keys)
    (row,) = await rows_of(store, first)
    assert (row["revision"], row["outcome"]) == (2, "FAIL")


async def test_old_generations_go_but_the_last_one_may_still_be_read(store):
    writer, index = LakeWriter(store), LakeIndex(store)
    for id_ in range(1, 5):
        await writer.store(another(id_), fence=1, confirmed=None)
        await index.merge(a_record().keys)
    generations = sorted(key for key in await keys_of(store) if "/generations/" in key)
    assert [key.rsplit("/", 1)[1][:8] for key in generations] == ["00000003", "00000004"]


def test_the_sample_is_what_the_record_says():
    source = sample("execution-88715")
    assert source["endDate"] - source["startDate"] == source["duration"]
    assert a_record(at=EXTRACTED).row(1, a_record().contents())["duration_ms"] == 14525
