"""The lake on S3: the same stories, with the store's own conditional writes."""

import asyncio
import uuid

import boto3
import pytest

from services.extractor.errors import Overtaken
from services.extractor.lake.index import LakeIndex
from services.extractor.lake.query import LakeQuery, QueryLimits
from services.extractor.lake.writer import LakeWriter
from shared.objects.factory import build_store
from shared.settings import ObjectsSettings
from tests.builders.extractions import a_bundle, a_record, changed_execution


@pytest.fixture
async def store(aws_settings):
    bucket = f"lake-{uuid.uuid4().hex[:8]}"
    client = boto3.client(
        "s3",
        endpoint_url=aws_settings.endpoint_url,
        region_name=aws_settings.region,
        aws_access_key_id=aws_settings.access_key_id,
        aws_secret_access_key=aws_settings.secret_access_key.get_secret_value(),
    )
    client.create_bucket(Bucket=bucket)
    client.close()
    return build_store(ObjectsSettings(uri=f"s3://{bucket}"), aws_settings, None)


def a_version(outcome, execution_id=88715):
    execution = changed_execution(id=execution_id, outcome=outcome)
    return a_record(a_bundle(execution=execution), root="")


async def test_versions_rows_and_index(store):
    writer, index = LakeWriter(store), LakeIndex(store)
    first, second = a_version("PASS"), a_version("FAIL")
    assert (await writer.store(first, fence=1, confirmed=None)).status == "completed"
    assert (await writer.store(first, fence=2, confirmed=1)).status == "unchanged"
    stored = await writer.store(second, fence=3, confirmed=1)
    assert stored.uri.startswith("s3://lake-")
    assert stored.row["key"] == "customer-001/2024/07/16/execution-88715.json"
    with pytest.raises(Overtaken):
        await writer.store(first, fence=2, confirmed=1)
    others = [a_version("PASS", execution_id) for execution_id in range(1, 6)]
    await asyncio.gather(*(writer.store(one, fence=1, confirmed=None) for one in others))
    await asyncio.gather(*(LakeIndex(store).merge(first.keys) for _ in range(3)))
    while await index.merge(first.keys):
        pass
    keys = [info.key async for info in store.list("")]
    assert "customer-001/index/executions.parquet" in keys
    assert "customer-001/2024/07/16/metadata.json" in keys
    assert "_schemas/execution-v1.json" in keys
    question = "SELECT outcome, count(*), max(revision) FROM executions GROUP BY 1 ORDER BY 1"
    found = await LakeQuery(QueryLimits()).run(question, await index.read(first.keys))
    assert found.rows == [["FAIL", 1, 2], ["PASS", 5, 1]]
