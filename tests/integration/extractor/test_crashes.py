"""The process is killed between each pair of its durable writes; afterwards everything is there, once."""

import json
import subprocess

import pytest

from services.extractor.lake.canonical import sha256
from tests.integration.extractor.running import until

POINTS = [
    "ingest.after_items",
    "claim.after_update",
    "extract.after_version",
    "extract.after_row",
    "extract.after_delta",
    "extract.after_copy",
    "extract.before_finish",
    "index.after_generation",
    "index.after_manifest",
]


@pytest.mark.breaks
@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
async def test_killed_at(place, point):
    root = place.folder / place.tenant / "lake/customer-001"
    async with place.listening() as publisher:
        await publisher.publish(place.webhook())
        doomed = place.process(CRASH_POINT=point)
        try:
            await until(lambda: doomed.poll() is not None, seconds=30)
            assert doomed.returncode == -9, place.log.read_text()
        finally:
            doomed.kill()
            doomed.wait()
        healthy = place.process()
        try:
            (event,) = await place.heard(1, seconds=30)
            assert event.status == "completed"
            parquet = root / "index/executions.parquet"
            await until(lambda: parquet.exists() and not list(root.glob("index/deltas/*")))
            await until((root / "2024/07/16/metadata.json").exists)
        finally:
            healthy.terminate()
            try:
                healthy.wait(10)
            except subprocess.TimeoutExpired:
                healthy.kill()
                raise
    assert healthy.returncode == 0
    assert len({event.id for event in place.events}) == 1
    row = json.loads((root / "index/rows/88715.json").read_text())
    assert row["revision"] == 1
    copy = (root / "2024/07/16/execution-88715.json").read_bytes()
    assert sha256(copy) == row["sha256"]
    assert len(list(root.glob("versions/88715/*"))) == 1
    manifest = json.loads((root / "index/manifest.json").read_text())
    assert manifest["rows"] == 1
    assert sha256((root / "index/executions.parquet").read_bytes()) == manifest["sha256"]
    assert json.loads((root / "2024/07/16/metadata.json").read_text())["executions"] == 1
