"""A direct route behaves like every other one, and is in the docs."""

import pytest

from tests.builders.web import KEY, build


async def test_the_caller_is_known_and_the_answer_dressed(client):
    answer = await client.post("/v1/direct", json={}, headers={**KEY, "x-request-id": "ci-1"})
    assert (answer.status_code, answer.json()) == (202, {"tenant": "demo", "ip": "203.0.113.7"})
    assert answer.headers["x-request-id"] == "ci-1"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


async def test_without_a_key_it_is_closed(client):
    for headers in ({}, {"x-api-key": "wrong"}):
        answer = await client.post("/v1/direct", json={}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
        assert answer.headers["www-authenticate"]


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("conflict", 409, "conflict"),
        ("retry", 503, "overloaded"),
        ("rules", 422, "invalid_request"),
        ("bug", 500, "internal_error"),
    ],
)
async def test_errors_are_problems(client, name, status, code):
    answer = await client.post("/v1/direct", json={"raise": name}, headers=KEY)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["instance"] == "/v1/direct"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert "hunter2" not in answer.text


async def test_limits_hold(client_for):
    client = client_for(build(max_body_bytes=1_000))

    async def endless():
        while True:
            yield b" " * 100

    for content in (b" " * 1_001, endless()):
        answer = await client.post("/v1/direct", content=content, headers=KEY)
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    answer = await client.post("/v1/direct", json={}, headers={**KEY, "x-large": "x" * 40_000})
    assert answer.status_code == 431


async def test_other_methods_are_the_frameworks(client):
    answer = await client.get("/v1/direct", headers=KEY)
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")


async def test_cors_holds(client_for):
    client = client_for(build(allow_origins=["https://ui.example.com"]))
    origin = {"origin": "https://ui.example.com"}
    answer = await client.post("/v1/direct", json={}, headers={**KEY, **origin})
    assert answer.headers["access-control-allow-origin"] == "https://ui.example.com"
    preflight = {**origin, "access-control-request-method": "POST"}
    answer = await client.options("/v1/direct", headers=preflight)
    assert answer.headers["access-control-allow-origin"] == "https://ui.example.com"


async def test_it_is_measured_by_its_route_and_documented(client):
    await client.post("/v1/direct", json={}, headers=KEY)
    assert 'route="/v1/direct"' in (await client.get("/metrics")).text
    document = (await client.get("/openapi.json")).json()
    assert "post" in document["paths"]["/v1/direct"]
