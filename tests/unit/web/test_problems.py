"""Every error, the framework's included, is a problem document that says what to mend and nothing else."""

import json

import pytest
import structlog

from shared import errors
from shared.web.problems import STATUS, status_of
from tests.builders.web import KEY

JSON = {**KEY, "content-type": "application/json"}


def assert_problem(answer, status, code):
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert (answer.status_code, body["status"], body["code"]) == (status, status, code)
    assert body["type"] == f"urn:cadenza:problem:{code}"
    assert body["title"]
    assert body["detail"]
    assert body["instance"] == answer.request.url.path
    assert body["request_id"] == answer.headers["x-request-id"]
    return body


async def test_validation_names_field_rule_and_message(client):
    plan = {"steps": [{"name": "a"}, {"name": 7, "after": "x"}], "extra": 1}
    answer = await client.post("/v1/runs", json={"plan": plan}, headers=KEY)
    body = assert_problem(answer, 422, "invalid_request")
    found = {(one["field"], one["rule"]) for one in body["errors"]}
    assert found == {
        ("plan.steps[1].name", "string_type"),
        ("plan.steps[1].after", "list_type"),
        ("plan.extra", "extra_forbidden"),
    }
    assert all(one["message"] for one in body["errors"])


async def test_a_parameter_keeps_its_place_in_the_field(client):
    body = assert_problem(await client.get("/v1/runs?limit=0"), 422, "invalid_request")
    assert body["errors"][0]["field"] == "query.limit"


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b'{"plan": ', "json"),
        (b"", "missing"),
        (b'{"plan": "\xff\xfe"}', "utf8"),
        (b"[" * 200_000, "depth"),
        (b"9" * 5_000, "json"),
    ],
)
async def test_a_body_that_cannot_be_read_says_why(client, content, rule):
    answer = await client.post("/v1/runs", content=content, headers=JSON)
    body = assert_problem(answer, 422, "invalid_request")
    assert [(one["field"], one["rule"]) for one in body["errors"]] == [("body", rule)]


async def test_a_hopeless_body_gives_a_bounded_list(client):
    steps = [{"name": n} for n in range(5_000)]
    answer = await client.post("/v1/runs", json={"plan": {"steps": steps}}, headers=KEY)
    assert len(assert_problem(answer, 422, "invalid_request")["errors"]) == 100


async def test_a_lone_surrogate_in_a_field_name_does_not_break_the_answer(client):
    content = json.dumps({"plan": {"steps": [{"name": "a"}], "\ud800": 1}}).encode()
    answer = await client.post("/v1/runs", content=content, headers=JSON)
    assert_problem(answer, 422, "invalid_request")


async def test_unknown_address(client):
    assert_problem(await client.get("/v1/nothing"), 404, "not_found")


async def test_wrong_method_names_the_right_one(client):
    answer = await client.delete("/v1/admin")
    assert_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET"


@pytest.mark.parametrize(
    ("name", "status", "code", "retry_after"),
    [
        ("retry", 503, "overloaded", "3"),
        ("limited", 429, "rate_limited", "1"),
        ("upstream", 502, "upstream_unavailable", "1"),
        ("conflict", 409, "conflict", None),
        ("settings", 500, "configuration", None),
    ],
)
async def test_cadenza_errors(client, name, status, code, retry_after):
    answer = await client.get(f"/v1/raise/{name}")
    assert_problem(answer, status, code)
    assert answer.headers.get("retry-after") == retry_after


async def test_an_error_of_a_use_case_carries_its_fields(client):
    body = assert_problem(await client.get("/v1/raise/rules"), 422, "invalid_request")
    assert body["errors"] == [{"field": "plan", "rule": "cycle", "message": "a → b → a"}]


async def test_the_unexpected_is_logged_and_tells_nothing(client):
    with structlog.testing.capture_logs() as logs:
        answer = await client.get("/v1/raise/bug")
    body = assert_problem(answer, 500, "internal_error")
    assert "hunter2" not in answer.text
    assert "RuntimeError" not in answer.text
    assert body["title"] == "Something went wrong on our side"
    [line] = [line for line in logs if line["event"] == "http.unexpected_error"]
    assert line["path"] == "/v1/raise/bug"
    assert line["exc_info"]


def test_every_error_has_a_status_and_a_new_one_takes_its_ancestors():
    class Special(errors.NotFound):
        """A special thing is missing."""

    assert status_of(Special()) == 404
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.CadenzaError):
            assert 400 <= status_of(kind()) < 600
    assert STATUS[errors.CadenzaError] == 500
