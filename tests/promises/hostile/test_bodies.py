"""Bodies that are no JSON, no plan, or a plan that would keep the gateway busy for minutes."""

import json
import time

import pytest

from tests.promises.hostile.wire import GOOD, MINIMAL, checked_problem

NOOP = {"type": "noop"}
LOOKED_AT_WITHIN = 20.0
"""Seconds. Before there were bounds, some of these took minutes and kept everybody else waiting."""


def inside(text: str) -> bytes:
    """A good submission with one more member, as text."""
    return GOOD[:-1] + b"," + text.encode() + b"}"


def with_steps(*steps: dict, **plan) -> bytes:
    return json.dumps({"plan": {"name": "n", "steps": list(steps), **plan}}).encode()


UNREADABLE = {
    "nothing": (b"", "json"),
    "null": (b"null", "type"),
    "list": (b"[]", "type"),
    "number": (b"1", "type"),
    "text": (b'"plan"', "type"),
    "half": (GOOD[:-1], "json"),
    "more": (GOOD + b"{}", "json"),
    "not utf-8": (b'{"plan":"\xff"}', "utf8"),
    "surrogate as utf-8": (b'{"plan":"\xed\xa0\x80"}', "utf8"),
    "byte order mark": (b"\xef\xbb\xbf" + GOOD, "json"),
    "utf-16": (GOOD.decode().encode("utf-16"), "utf8"),
    "nul after it": (GOOD + b"\0", "json"),
    "100,000 levels": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "depth"),
    "a million brackets": (b"[" * 1_000_000, "depth"),
    "5,000 digits": (inside('"inputs":{"a":' + "9" * 5_000 + "}"), "integer_range"),
    "a key twice": (b'{"plan":1,' + GOOD[1:], "duplicate_key"),
    "a key twice, deep": (inside('"inputs":{"a":[{"b":1,"b":2}]}'), "duplicate_key"),
}

UNSTORABLE = {
    "65 bits": ('"inputs":{"a":9223372036854775808}', "inputs.a", "integer_range"),
    "not a number": ('"inputs":{"a":NaN}', "inputs.a", "not_finite"),
    "infinite": ('"inputs":{"a":-Infinity}', "inputs.a", "not_finite"),
    "too large a float": ('"inputs":{"a":1e999}', "inputs.a", "not_finite"),
    "half a character": ('"inputs":{"a":"\\ud800"}', "inputs.a", "lone_surrogate"),
    "half a character in a key": ('"inputs":{"\\udfff":1}', "inputs", "lone_surrogate"),
    "nul in a key": ('"metadata":{"a\\u0000":1}', "metadata", "nul_in_key"),
    "an unknown member": ('"\\u202e\\u001b[0m":1', "\\u202e\\x1b[0m", "unknown_field"),
    "reserved": ('"metadata":{"version":"2"}', "metadata.version", "reserved"),
    "priority is true": ('"priority":true', "priority", "int_type"),
    "priority is text": ('"priority":"5"', "priority", "int_type"),
    "inputs are null": ('"inputs":null', "inputs", "dict_type"),
    "a label is a number": ('"labels":{"a":1}', "labels.a", "string_type"),
}


def long_chain(count: int) -> list[dict]:
    return [{"name": f"s{n}", "command": NOOP} for n in range(count)]


ENDLESS_WORK = {
    "unknown needs": with_steps(
        *({"name": f"s{n}", "needs": [f"x{m}" for m in range(100)], "command": NOOP} for n in range(3000)),
        strategy={"type": "dependency_graph"},
    ),
    "a circle": with_steps(
        *({"name": f"s{n}", "needs": [f"s{(n + 1) % 5000}"], "command": NOOP} for n in range(5000)),
        strategy={"type": "dependency_graph"},
    ),
    "unknown steps": with_steps(
        *({"name": f"s{n}", "command": {"type": "shell", "command": "${{ steps.zzz.outputs.a }} " * 50}} for n in range(1500))
    ),
    "unknown inputs": with_steps(
        *({"name": f"s{n}", "command": {"type": "shell", "command": "${{ inputs." + "k" * 500 + " }}"}} for n in range(4000))
    ),
    "a reference without end": with_steps(
        {"name": "a", "command": {"type": "shell", "command": "${{ " * 200_000}}
    ),
    "a reference that nearly ends": with_steps(
        {"name": "a", "command": {"type": "shell", "command": "${{ steps." + "a.outputs." * 90_000 + "! }}"}}
    ),
    "references in keys of a megabyte": with_steps(
        {"name": "a", "command": NOOP, "input": {"k" * 500_000 + str(n): "${{ nothing }}" for n in range(3)}}
    ),
    "unknown types": with_steps(*({"name": f"s{n}", "command": {"type": "shel"}} for n in range(5000))),
    "wrong arguments": with_steps(
        *({"name": f"s{n}", "command": {"type": "shell", "comand": "x" * 500, "zz": 1}} for n in range(5000))
    ),
    "an argument of a megabyte": with_steps({"name": "a", "command": {"type": "noop", "k" * 1_000_000: 1}}),
    "a type of a megabyte": with_steps({"name": "a", "command": {"type": "x" * 1_000_000}}),
    "wrong variables": with_steps({"name": "a", "command": NOOP}, env={f"K-{n}": "v" for n in range(100_000)}),
    "equal names": with_steps(*({"name": "same", "command": NOOP} for _ in range(5000))),
    "unknown members": json.dumps({f"k{n}": n for n in range(200_000)}).encode(),
    "needs without a graph": with_steps(
        *({"name": f"s{n}", "needs": ["s0"], "command": NOOP} for n in range(5000))
    ),
}  # fmt: skip


def problem_of(answer):
    return checked_problem(answer.status_code, answer.headers["content-type"], answer.content)


@pytest.mark.parametrize("name", UNREADABLE)
@pytest.mark.parametrize(
    "path", ["/v1/executions", "/v1/executions/validate", "/v1/scans", "/v1/extractions"]
)
def test_what_is_no_json_object_is_refused(client, path, name):
    raw, rule = UNREADABLE[name]
    if path == "/v1/scans" and not raw:
        return  # without a body: everything that is configured
    answer = client.post(path, content=raw)
    assert answer.status_code == 422
    assert problem_of(answer)["errors"][0]["rule"] == rule


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_webhook_that_is_no_json_object_is_refused(client, name):
    answer = client.post("/webhook/execution-complete", content=UNREADABLE[name][0])
    assert answer.status_code == 422
    problem_of(answer)


@pytest.mark.parametrize("name", UNSTORABLE)
def test_what_could_not_be_given_back_unchanged_is_refused_by_field(client, name):
    text, field, rule = UNSTORABLE[name]
    answer = client.post("/v1/executions", content=inside(text))
    assert answer.status_code == 422, answer.text
    [error] = problem_of(answer)["errors"]
    assert (error["field"], error["rule"]) == (field, rule)


@pytest.mark.parametrize("name", ENDLESS_WORK)
def test_a_plan_made_to_keep_the_gateway_busy_is_refused_soon(client, name):
    begun = time.monotonic()
    answer = client.post("/v1/executions", content=ENDLESS_WORK[name])
    assert time.monotonic() - begun < LOOKED_AT_WITHIN
    assert answer.status_code == 422
    assert len(problem_of(answer)["errors"]) <= 100


def test_nothing_of_what_was_refused_is_stored(target, client):
    before = target.it.database.accepted_events.count_documents({})
    for raw, _ in UNREADABLE.values():
        client.post("/v1/executions", content=raw, headers={"Idempotency-Key": "refused"})
    assert target.it.database.accepted_events.count_documents({}) == before
    answer = client.post("/v1/executions", json=MINIMAL, headers={"Idempotency-Key": "refused"})
    assert answer.status_code == 202, "a refused request uses no key up"


@pytest.mark.parametrize(
    "body",
    [
        {"customer_id": "../x", "execution_id": "1"},
        {"customer_id": "001", "execution_id": "a/b"},
        {"customer_id": "001\n", "execution_id": "1"},
        {"customer_id": "\u0660\u0661", "execution_id": "1"},
        {"customer_id": "001", "execution_id": 10**64},
        {"customer_id": True, "execution_id": 1.5},
        {"customer_id": ["001"], "execution_id": {"$ne": ""}},
        {"customer_id": "", "execution_id": "x" * 65},
        {"customer_id": "$where", "execution_id": "a.b"},
    ],
)
def test_ids_that_would_lead_somewhere_else_are_refused(client, body):
    assert client.post("/v1/extractions", json=body).status_code == 422
    hook = {"customerId": body["customer_id"], "executionId": body["execution_id"]}
    answer = client.post("/webhook/execution-complete", json=hook)
    assert answer.status_code == 422
    problem_of(answer)


@pytest.mark.parametrize(
    "headers",
    [
        {"x-cadenza-signature": "sha256=" + "0" * 64},
        {"x-cadenza-signature": "sha256=" + "0" * 64, "x-cadenza-tenant": "acme"},
        {"x-cadenza-signature": b"\xff\xfe", "x-cadenza-tenant": "acme"},
        {"x-cadenza-signature": "", "x-cadenza-tenant": "acme"},
        {"x-cadenza-signature": "x" * 20_000, "x-cadenza-tenant": b"\xff"},
        {"x-cadenza-signature": "sha256=" + "0" * 64, "x-cadenza-tenant": ""},
    ],
)
def test_a_webhook_with_a_hostile_signature_is_refused(client, headers):
    answer = client.post("/webhook/execution-complete", content=b"\xff", headers=headers)
    assert answer.status_code == 401
    problem_of(answer)
