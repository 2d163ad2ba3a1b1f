"""Each limit of a submission: what is at it is taken and given back unchanged, what is one beyond it is named."""

import copy
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.promises.hostile.values import text
from tests.promises.hostile.wire import MINIMAL, checked_problem

MIB = 1024 * 1024
Change = Callable[[dict[str, Any], int], None]


def changed(change: Change, count: int) -> dict[str, Any]:
    body = copy.deepcopy(MINIMAL)
    change(body, count)
    return body


def in_plan(name: str, make: Callable[[int], Any]) -> Change:
    return lambda body, count: body["plan"].update({name: make(count)})


def in_step(name: str, make: Callable[[int], Any]) -> Change:
    return lambda body, count: body["plan"]["steps"][0].update({name: make(count)})


def in_body(name: str, make: Callable[[int], Any]) -> Change:
    return lambda body, count: body.update({name: make(count)})


def letters(count: int) -> str:
    return "x" * count


def characters(count: int) -> str:
    """Of four bytes each: limits count characters."""
    return "😀" * count


def nested(levels: int) -> dict[str, Any]:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


def numbered(count: int) -> dict[str, str]:
    return {f"k{n}": "v" for n in range(count)}


def noops(count: int) -> list[dict[str, Any]]:
    return [{"name": f"s{n}", "command": {"type": "noop"}} for n in range(count)]


def needing(body: dict[str, Any], count: int) -> None:
    names = [step["name"] for step in noops(count)]
    last = {"name": "last", "needs": names, "command": {"type": "noop"}}
    body["plan"].update(strategy={"type": "dependency_graph"}, steps=[*noops(count), last])


def artifacts(count: int) -> list[dict[str, str]]:
    return [{"path": f"p{n}"} for n in range(count)]


def sized(count: int) -> dict[str, str]:
    """An object that takes this many bytes of JSON."""
    return {"a": letters(count - len('{"a": ""}'))}


LIMITS: dict[str, tuple[Change, int, str]] = {
    "steps": (in_plan("steps", noops), 5_000, "plan.steps"),
    "plan name": (in_plan("name", characters), 255, "plan.name"),
    "description": (in_plan("description", characters), 4_096, "plan.description"),
    "plan timeout": (in_plan("timeout_seconds", float), 7 * 86_400, "plan.timeout_seconds"),
    "plan labels": (in_plan("labels", numbered), 64, "plan.labels"),
    "plan label": (in_plan("labels", lambda n: {"k": letters(n)}), 255, "plan.labels.k"),
    "plan inputs": (in_plan("inputs", sized), MIB, "plan.inputs"),
    "step name": (in_step("name", letters), 128, "plan.steps[0].name"),
    "step version": (in_step("version", letters), 64, "plan.steps[0].version"),
    "step input": (in_step("input", sized), MIB, "plan.steps[0].input"),
    "step metadata": (in_step("metadata", sized), MIB, "plan.steps[0].metadata"),
    "step depth": (in_step("input", nested), 100, "plan.steps[0].input"),
    "needs": (needing, 1_000, "plan.steps[1001].needs"),
    "artifacts": (in_step("artifacts", artifacts), 100, "plan.steps[0].artifacts"),
    "artifact path": (
        in_step("artifacts", lambda n: [{"path": letters(n)}]),
        1_024,
        "plan.steps[0].artifacts[0].path",
    ),
    "attempts": (
        in_step("retry", lambda n: {"max_attempts": n}),
        100,
        "plan.steps[0].retry.max_attempts",
    ),
    "inputs": (in_body("inputs", sized), MIB, "inputs"),
    "inputs depth": (in_body("inputs", nested), 100, "inputs"),
    "metadata": (in_body("metadata", sized), MIB, "metadata"),
    "labels": (in_body("labels", numbered), 64, "labels"),
    "label": (in_body("labels", lambda n: {"k": characters(n)}), 255, "labels.k"),
    "label key": (in_body("labels", lambda n: {letters(n): "v"}), 255, "labels." + letters(64)),
    "priority": (in_body("priority", lambda n: n), 100, "priority"),
    "low priority": (in_body("priority", lambda n: -n), 100, "priority"),
}


@pytest.mark.parametrize("name", LIMITS)
def test_at_the_limit_it_is_taken_and_given_back(target, client, name):
    change, limit, _ = LIMITS[name]
    body = changed(change, limit)
    answer = client.post("/v1/executions", json=body)
    assert answer.status_code == 202, answer.text
    stored = client.get(answer.json()["links"]["self"]).json()
    plan = stored["plan"] if stored["stored_plan"] is None else kept_apart(stored["stored_plan"])
    assert text(plan) == text(body["plan"])
    assert text(stored["inputs"]) == text(body.get("inputs", {}))
    assert stored["priority"] == body.get("priority", 0)
    metadata = {key: stored["metadata"][key] for key in body.get("metadata", {})}
    assert text(metadata) == text(body.get("metadata", {}))


def kept_apart(stored: dict[str, str]) -> Any:
    """A plan that is too large for an event."""
    raw = Path(urlsplit(stored["uri"]).path).read_bytes()
    assert hashlib.sha256(raw).hexdigest() == stored["sha256"]
    return json.loads(raw)


@pytest.mark.parametrize("name", LIMITS)
def test_one_beyond_the_limit_is_named(client, name):
    change, limit, field = LIMITS[name]
    answer = client.post("/v1/executions", json=changed(change, limit + 1))
    assert answer.status_code == 422, answer.text
    problem = checked_problem(422, answer.headers["content-type"], answer.content)
    assert problem["errors"][0]["field"].startswith(field)


@pytest.mark.parametrize(("size", "status"), [(4 * MIB, 202), (4 * MIB + 1, 413)])
def test_a_body_at_its_limit(client, size, status):
    raw = json.dumps(MINIMAL).encode()
    answer = client.post("/v1/executions", content=raw + b" " * (size - len(raw)))
    assert answer.status_code == status


@pytest.mark.parametrize(("key", "status"), [("k" * 255, 202), ("k" * 256, 422), ("a\tb", 422)])
def test_an_idempotency_key_at_its_limit(client, key, status):
    answer = client.post("/v1/executions", json=MINIMAL, headers={"Idempotency-Key": key})
    assert answer.status_code == status
    if status == 202:
        again = client.post("/v1/executions", json=MINIMAL, headers={"Idempotency-Key": key})
        assert again.json() == answer.json()
