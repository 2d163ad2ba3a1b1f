"""Addresses, queries and ids that nobody should ask for."""

import pytest

from tests.promises.hostile.wire import MINIMAL, checked_problem

ID = "01900000-0000-7000-8000-000000000000"

WRONG = [
    "limit=0", "limit=201", "limit=x", "limit=1e3", "limit=99999999999999999999", "limit=%00",
    "cursor=%00", "cursor=%ff", "cursor=" + "x" * 300, "cursor=../..", "cursor=%7B%22$ne%22:1%7D",
    "status=x", "status=", "status=%00", "label=x", "label=" + "&label=a%3Db" * 25,
    "created_after=x", "created_after=1e400", "created_before=2026-01-01",
    "created_after=0001-01-01T00:00:00%2B23:59", "created_before=9999-12-31T23:59:59-23:59",
    "name=" + "x" * 256, "user_id=" + "x" * 256,
]  # fmt: skip

HARMLESS = [
    "label=%00%3D%00", "label=%3D", "label=$ne%3D1", "name[$ne]=x", "name=%00", "name=%1b[31m%E2%80%AE",
    "user_id=%ed%a0%80", "unknown=1", "limit=1&limit=2", "&".join(["a=b"] * 3_000), "%00=1", ";=;",
    "created_after=99999999999999",
]  # fmt: skip

PARTS = ["", "/steps", "/artifacts", "/metrics", "/logs", "/events", "/artifacts/x/content"]
HOSTILE_IDS = [
    "x" * 5_000, "$ne", "%7B%22$ne%22:1%7D", "%00", "%ff", ID.upper(), ID + "%00", ID + "%0a", "-1",
    "%E2%80%AE", "%1b%5B31m", "null", "undefined", "..%2e", "01900000",
]  # fmt: skip


def refused(answer, *statuses):
    assert answer.status_code in statuses, (answer.status_code, answer.text[:500])
    return checked_problem(answer.status_code, answer.headers["content-type"], answer.content)


@pytest.mark.parametrize("query", WRONG)
def test_a_question_without_sense_is_named(client, query):
    problem = refused(client.get(f"/v1/executions?{query}"), 422)
    assert query.split("=")[0] in problem["errors"][0]["field"]


@pytest.mark.parametrize("query", HARMLESS)
def test_a_question_about_nothing_finds_nothing(client, query):
    answer = client.get(f"/v1/executions?{query}")
    assert answer.status_code == 200, answer.text
    assert answer.json()["items"] == []


@pytest.mark.parametrize("id", HOSTILE_IDS)
def test_an_id_that_cannot_be_is_not_found(client, id):
    for part in PARTS:
        refused(client.get(f"/v1/executions/{id}{part}"), 404)
    refused(client.post(f"/v1/executions/{id}/cancel"), 404)
    refused(client.get(f"/v1/scans/{id}"), 404)
    refused(client.get(f"/v1/extractions/{id}/{id}"), 404)


def test_cursors_and_positions_of_a_run(client):
    run = client.post("/v1/executions", json=MINIMAL).json()["links"]["self"]
    for cursor in ("-1", "x", "%00", "99999999999999999999", "%D9%A1", "1_0", "+5", "1.5"):
        refused(client.get(f"{run}/steps?cursor={cursor}"), 422)
        refused(client.get(f"{run}/logs?cursor={cursor}"), 422)
    for after in ("-1", "x", "%00", "9" * 30, "1.2.3", "%7B%7D", "x" * 5_000):
        refused(client.get(f"{run}/events?after={after}"), 422)
    for query in ("stream=x", "since=x", "until=2026-01-01", "limit=0"):
        refused(client.get(f"{run}/logs?{query}"), 422)
    for step in ("%00", "$ne", "-1", "999999999", "x" * 5_000):
        assert client.get(f"{run}/logs?step={step}").json()["items"] == []


@pytest.mark.parametrize(
    "reason", ["x" * 1_024, "\0\x1b[31m\u202e", "", None, "x" * 1_025, 5, ["x"]]
)
def test_the_reason_of_a_cancellation(client, reason):
    run = client.post("/v1/executions", json=MINIMAL).json()["links"]["self"]
    answer = client.post(f"{run}/cancel", json={"reason": reason})
    good = reason is None or (isinstance(reason, str) and len(reason) <= 1_024)
    if good:
        assert answer.status_code == 202
    else:
        assert refused(answer, 422)["errors"][0]["field"] == "reason"


@pytest.mark.parametrize(
    "path", ["/nothing", "/v1", "/v1/", "/v2/executions", "/health/", "/HEALTH"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PATCH", "OPTIONS"])
def test_an_unknown_address_says_so(client, method, path):
    refused(client.request(method, path), 404)


def test_the_root_says_where_to_go_on(client):
    answer = client.get("/", headers={"X-API-Key": ""})
    assert answer.status_code == 200
    assert answer.json()["service"] == "Cadenza gateway"
    for link in answer.json()["links"].values():
        assert client.get(link).status_code == 200, link
    refused(client.post("/"), 405)
