"""What callers read of runs, scans and extractions: from the owners' documents, and never across tenants."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.ids import new_id
from tests.builders.gateway import OTHER, RecordingSender, a_run, running

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
async def gateway(mongo_settings, kafka_settings, tmp_path):
    parts = {"sender": RecordingSender()}
    async with running(mongo_settings, kafka_settings, tmp_path, parts=parts) as it:
        yield it


def an_execution(**changes):
    document = {
        "_id": new_id(),
        "tenant": "demo",
        "name": "a-run",
        "status": "completed",
        "reason": None,
        "user_id": "demo",
        "labels": {"branch": "main"},
        "label_index": ["branch=main"],
        "plan": {"name": "a-run", "steps": []},
        "inputs": {},
        "metadata": {},
        "created_at": NOON,
        "started_at": NOON,
        "completed_at": NOON,
        "duration_ms": 0,
        "epoch": 1,
        "sequence": (1 << 32) + 2,
        "transitions": [],
        "lease": {"owner": "secret-host"},
    }
    return document | changes


async def store(gateway, collection, *documents):
    await gateway.database[collection].insert_many(documents)
    return [document["_id"] for document in documents]


async def read(gateway, path, **options):
    answer = await gateway.client.get(path, **options)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def every_page(gateway, path, **params):
    items, cursor = [], None
    while True:
        page = await read(gateway, path, params=params | ({"cursor": cursor} if cursor else {}))
        assert len(page["items"]) <= params.get("limit", 200)
        items += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return items


async def test_lists_are_newest_first_and_paged_without_gap_or_repetition(gateway):
    runs = [an_execution(created_at=NOON + timedelta(seconds=n // 3)) for n in range(20)]
    await store(gateway, "executions", *runs)
    await store(gateway, "executions", an_execution(tenant="other"))

    items = await every_page(gateway, "/v1/executions", limit=3)

    wanted = sorted(runs, key=lambda one: (one["created_at"], one["_id"]), reverse=True)
    assert [one["execution_id"] for one in items] == [one["_id"] for one in wanted]
    assert "plan" not in items[0]
    assert "lease" not in items[0]


async def test_lists_are_filtered(gateway):
    labels = {"branch": "dev", "commit": "a=b"}
    ids = await store(
        gateway,
        "executions",
        an_execution(status="failed"),
        an_execution(labels=labels, label_index=["branch=dev", "commit=a=b"]),
        an_execution(user_id="olga"),
        an_execution(name="nightly"),
        an_execution(created_at=NOON + timedelta(hours=1)),
        {"_id": new_id(), "tenant": "demo", "tombstone": True, "cancel": {"by": "demo"}},
    )
    cases = [
        ({"status": "failed"}, [0]),
        ({"status": ["failed", "completed"]}, [0, 1, 2, 3, 4]),
        ({"label": ["branch=dev", "commit=a=b"]}, [1]),
        ({"label": ["branch=dev", "commit=c"]}, []),
        ({"user_id": "olga"}, [2]),
        ({"name": "nightly"}, [3]),
        ({"created_after": "2026-01-31T12:30:00Z"}, [4]),
        ({"created_before": "2026-01-31T13:30:00+01:00"}, [0, 1, 2, 3]),
    ]
    for params, wanted in cases:
        items = await every_page(gateway, "/v1/executions", **params)
        assert {one["execution_id"] for one in items} == {ids[n] for n in wanted}, params


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"limit": 201}, "query.limit"),
        ({"limit": 0}, "query.limit"),
        ({"status": "done"}, "query.status[0]"),
        ({"label": "branch"}, "label[0]"),
        ({"created_after": "2026-01-31T12:00:00"}, "query.created_after"),
        ({"cursor": "soon"}, "cursor"),
    ],
)
async def test_a_wrong_question_is_named(gateway, params, field):
    answer = await gateway.client.get("/v1/executions", params=params)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field


async def test_a_run_with_its_steps_metrics_and_artifacts(gateway, tmp_path):
    run = an_execution(inputs={"$ref": 1, "$id": 2, "a.b": None})
    (run_id,) = await store(gateway, "executions", run)
    steps = [
        {
            "_id": f"{run_id}/{n}",
            "execution_id": run_id,
            "tenant": "demo",
            "step_id": n,
            "step_name": f"s{n}",
            "status": "completed",
            "output": {"n": n},
        }
        for n in range(1, 6)
    ]
    await store(gateway, "execution_steps", *steps)
    metrics = [
        {
            "_id": f"{second}.{step}",
            "timestamp": NOON + timedelta(seconds=second),
            "meta": {"tenant": "demo", "execution_id": run_id, "step_id": step},
            "metrics": {"memory_usage_mb": 1.5, "network_bytes_sent": None},
        }
        for second in range(3)
        for step in range(3)
    ]
    await store(gateway, "execution_metrics", *metrics)

    assert (await read(gateway, f"/v1/executions/{run_id}"))["inputs"] == run["inputs"]
    found = await every_page(gateway, f"/v1/executions/{run_id}/steps", limit=2)
    assert [one["step_id"] for one in found] == [1, 2, 3, 4, 5]
    assert found[2]["output"] == {"n": 3}
    samples = await every_page(gateway, f"/v1/executions/{run_id}/metrics", limit=2)
    assert [(one["timestamp"], one["meta"]["step_id"]) for one in samples] == [
        (f"2026-01-31T12:00:0{second}.000Z", step) for second in range(3) for step in range(3)
    ]
    assert samples[0]["metrics"]["network_bytes_sent"] is None
    assert await every_page(gateway, f"/v1/executions/{run_id}/artifacts") == []


async def test_an_artifact_can_be_read_whole_or_in_ranges(gateway, tmp_path):
    (run_id,) = await store(gateway, "executions", an_execution())
    data = bytes(range(256)) * 10
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "page.html").write_bytes(data)
    artifact, gone = [
        {
            "_id": new_id(),
            "tenant": "demo",
            "execution_id": run_id,
            "step_id": 1,
            "artifact_type": "report",
            "artifact_name": f"reports/{name}",
            "mime_type": "text/html",
            "size_bytes": len(data),
            "storage_type": "local",
            "storage_path": f"file://{tmp_path}/demo/{name}",
            "created_at": NOON,
        }
        for name in ("page.html", "gone.html")
    ]
    await store(gateway, "execution_artifacts", artifact, gone)
    listed = await every_page(gateway, f"/v1/executions/{run_id}/artifacts", limit=1)
    assert {one["artifact_name"] for one in listed} == {"reports/page.html", "reports/gone.html"}
    here = f"/v1/executions/{run_id}/artifacts/{artifact['_id']}/content"

    whole = await gateway.client.get(here)
    assert (whole.status_code, whole.content) == (200, data)
    assert whole.headers["content-disposition"] == "attachment; filename*=UTF-8''page.html"
    assert whole.headers["accept-ranges"] == "bytes"
    for asked, wanted, where in [
        ("bytes=0-9", data[:10], "bytes 0-9/2560"),
        ("bytes=2550-", data[2550:], "bytes 2550-2559/2560"),
        ("bytes=-5", data[-5:], "bytes 2555-2559/2560"),
        ("bytes=2550-9999", data[2550:], "bytes 2550-2559/2560"),
    ]:
        part = await gateway.client.get(here, headers={"Range": asked})
        assert (part.status_code, part.content) == (206, wanted)
        assert part.headers["content-range"] == where
    beyond = await gateway.client.get(here, headers={"Range": "bytes=2560-"})
    assert beyond.status_code == 416
    assert beyond.headers["content-range"] == "bytes */2560"
    missing = await gateway.client.get(here.replace(artifact["_id"], gone["_id"]))
    assert missing.status_code == 404
    assert missing.headers["content-type"] == "application/problem+json"


async def test_logs_by_step_stream_and_time_as_json_and_text(gateway):
    (run_id,) = await store(
        gateway, "executions", an_execution(log_fences=[{"epoch": 2, "chunk": 3}])
    )
    logs = [
        {
            "_id": f"{run_id}/{chunk}",
            "execution_id": run_id,
            "tenant": "demo",
            "step_id": 1 + chunk % 2,
            "step_name": f"s{1 + chunk % 2}",
            "attempt": "1.1",
            "epoch": 1 if chunk <= 4 else 2,  # chunk 4 came after its owner had lost the run
            "sequence": 7,
            "chunk": chunk,
            "stream": "stderr" if chunk == 3 else "stdout",
            "at": NOON + timedelta(seconds=chunk),
            "text": f"line {chunk}\n",
        }
        for chunk in range(1, 8)
    ]
    await store(gateway, "execution_logs", *logs)
    here = f"/v1/executions/{run_id}/logs"

    async def chunks(**params):
        return [one["chunk"] for one in await every_page(gateway, here, limit=2, **params)]

    assert await chunks() == [1, 2, 3, 5, 6, 7]
    assert await chunks(step="s1") == [2, 6]
    assert await chunks(step="2") == [1, 3, 5, 7]
    assert await chunks(stream="stderr") == [3]
    assert await chunks(since="2026-01-31T12:00:05Z", until="2026-01-31T12:00:07Z") == [5, 6]
    text = await gateway.client.get(here, headers={"Accept": "text/plain"})
    assert text.headers["content-type"].startswith("text/plain")
    assert text.text == "".join(f"line {n}\n" for n in (1, 2, 3, 5, 6, 7))


async def test_scans_resources_and_extractions(gateway):
    asked = await gateway.client.post("/v1/scans", json={"regions": ["eu-west-1"]})
    assert asked.status_code == 202
    scan_id = asked.json()["scan_id"]
    queued = await read(gateway, f"/v1/scans/{scan_id}")
    assert (queued["status"], queued["regions"]) == ("queued", ["eu-west-1"])
    await store(
        gateway,
        "scans",
        {"_id": scan_id, "tenant": "demo", "status": "completed", "created_at": NOON},
    )
    resources = [
        {
            "_id": f"r{n}",
            "tenant": "demo",
            "account_id": "1",
            "region": "eu-west-1" if n % 2 else "us-east-1",
            "service": "ec2",
            "resource_type": "instance",
            "identifier": f"i-{n}",
            "scan_id": scan_id,
        }
        for n in range(5)
    ]
    await store(gateway, "resources", *resources)

    assert (await read(gateway, f"/v1/scans/{scan_id}"))["status"] == "completed"
    assert [one["scan_id"] for one in await every_page(gateway, "/v1/scans")] == [scan_id]
    found = await every_page(gateway, f"/v1/scans/{scan_id}/resources", limit=2)
    assert [one["identifier"] for one in found] == [f"i-{n}" for n in range(5)]
    found = await every_page(gateway, "/v1/resources", region="eu-west-1", type="instance")
    assert [one["identifier"] for one in found] == ["i-1", "i-3"]

    body = {"customer_id": "001", "execution_id": 88715}
    extraction = await gateway.client.post("/v1/extractions", json=body)
    assert extraction.status_code == 202
    here = extraction.headers["location"]
    assert here == "/v1/extractions/001/88715"
    for status, answer in (("running", 409), ("completed", 200)):
        await gateway.database["extractions"].replace_one(
            {"_id": "001/88715"},
            {
                "_id": "001/88715",
                "tenant": "demo",
                "customer_id": "001",
                "execution_id": "88715",
                "status": status,
            },
            upsert=True,
        )
        assert (await gateway.client.get(here)).status_code == answer
    assert (await gateway.client.get("/v1/extractions/001/1")).status_code == 404


async def test_tenants_are_walls(gateway):
    (run_id,) = await store(gateway, "executions", an_execution())
    queued = (await gateway.submit(a_run())).json()["execution_id"]
    (artifact,) = await store(
        gateway,
        "execution_artifacts",
        {"_id": new_id(), "tenant": "demo", "execution_id": run_id, "created_at": NOON},
    )
    scan = (await gateway.client.post("/v1/scans", json={})).json()["scan_id"]
    await store(
        gateway,
        "extractions",
        {
            "_id": "001/1",
            "tenant": "demo",
            "customer_id": "001",
            "execution_id": "1",
            "status": "completed",
        },
    )
    paths = [
        f"/v1/executions/{one}{rest}"
        for one in (run_id, queued)
        for rest in ("", "/steps", "/artifacts", "/metrics", "/logs", "/events")
    ]
    paths += [
        f"/v1/executions/{run_id}/artifacts/{artifact}/content",
        f"/v1/scans/{scan}",
        f"/v1/scans/{scan}/resources",
        "/v1/extractions/001/1",
    ]
    for path in paths:
        answer = await gateway.client.get(path, headers=OTHER)
        assert answer.status_code == 404, path
    for one in (run_id, queued):
        answer = await gateway.client.post(f"/v1/executions/{one}/cancel", headers=OTHER)
        assert answer.status_code == 404
    for path in ("/v1/executions", "/v1/scans", "/v1/resources"):
        assert (await read(gateway, path, headers=OTHER))["items"] == []
    assert await gateway.database["accepted_events"].count_documents({"tenant": "other"}) == 0
