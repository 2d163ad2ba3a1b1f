"""The command type with its real program: files, artifacts of the tenant and of others, and how it fails."""

import asyncio
import json
import time

import pytest

from services.executor.clients.kept_files import StoredFiles
from services.executor.commands.data_quality_profile import DataQualityProfile
from services.executor.commands.reach import Reach
from shared.objects.local import LocalStore
from tests.unit.executor.processes.contexts import a_context

TABLE = "name,amount,day\n" + "".join(f"n{n},{n * 3},2026-01-{n:02}\n" for n in range(1, 29))


@pytest.fixture
def context(tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "artifacts").mkdir()
    objects = LocalStore(tmp_path / "objects")

    def build(**fields):
        return a_context(
            tmp_path / "work",
            artifacts_dir=tmp_path / "artifacts",
            tenant="acme",
            **({"reach": Reach(files=StoredFiles(objects))} | fields),
        )

    build.objects, build.folder = objects, tmp_path
    return build


async def run(context, source, *, fields=None, **arguments):
    ctx, printed = context(**(fields or {}))
    outcome = await DataQualityProfile().execute({"source": source, **arguments}, ctx)
    left = {one.name for one in (context.folder / "work").iterdir()}
    left -= {"orders.csv", ".output.jsonl"}
    assert left == set(), "the program's folder is gone"
    return outcome, printed


async def test_a_file_is_profiled_and_the_report_is_left_as_an_artifact(context):
    (context.folder / "work" / "orders.csv").write_text(TABLE)
    outcome, printed = await run(context, "orders.csv")
    assert outcome.status == "completed", (outcome, printed.stderr)
    out = outcome.outputs
    assert (out["rows"], [one["kind"] for one in out["columns"]]) == (28, ["string", "integer", "datetime"])  # fmt: skip
    assert 0 < out["score"] < 1
    report = json.loads((context.folder / "artifacts" / out["report"]).read_text())
    assert report["score"] == out["score"]
    assert report["columns"][1]["details"]["mean"] == pytest.approx(43.5)
    assert "28 rows, 3 columns" in printed.stdout


async def test_an_artifact_of_the_tenant_is_profiled_and_nobody_elses(context):
    mine = await context.objects.put("acme/artifacts/r/1/1.1/t.csv", TABLE.encode())
    theirs = await context.objects.put("other/artifacts/r/1/1.1/t.csv", TABLE.encode())
    lake = await context.objects.put("acme/versions/1/x/t.csv", TABLE.encode())
    outcome, _ = await run(context, mine.uri)
    assert (outcome.status, outcome.outputs["rows"]) == ("completed", 28)
    climbing = mine.uri.replace("acme/artifacts", "acme/artifacts/../../other/artifacts")
    for uri in (theirs.uri, lake.uri, climbing, mine.uri + "x", "s3://elsewhere/t.csv", "http://[", "file:///etc/passwd"):  # fmt: skip
        outcome, _ = await run(context, uri)
        assert (outcome.status, outcome.reason) == ("failed", "artifact_missing"), uri


@pytest.mark.parametrize(
    ("source", "arguments", "reason"),
    [
        ("orders.csv", {"format": "parquet"}, "source_unreadable"),
        ("orders.csv", {"sample_rows": 0}, "invalid_arguments"),
        ("orders.csv", {"format": "xml"}, "invalid_arguments"),
    ],
)
async def test_how_it_fails(context, source, arguments, reason):
    (context.folder / "work" / "orders.csv").write_text(TABLE)
    outcome, _ = await run(context, source, **arguments)
    assert (outcome.status, outcome.reason) == ("failed", reason)
    assert outcome.error


async def test_where_nothing_is_kept_an_artifact_cannot_be_read(context):
    outcome, _ = await run(context, "s3://x/y.csv", fields={"reach": Reach()})
    assert (outcome.status, outcome.reason) == ("failed", "not_available")


async def test_it_obeys_a_cancel_and_its_deadline(context):
    (context.folder / "work" / "orders.csv").write_text("a,b\n" + "1,2\n" * 3_000_000)
    outcome, _ = await run(context, "orders.csv", fields={"timeout": 0.3})
    assert outcome.status == "timed_out"
    ctx, _ = context()
    asyncio.get_running_loop().call_later(0.2, ctx.cancel.set)
    began = time.monotonic()
    outcome = await DataQualityProfile().execute({"source": "orders.csv"}, ctx)
    assert outcome.status == "cancelled"
    assert time.monotonic() - began < 10
