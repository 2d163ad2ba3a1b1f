"""Submissions spoilt at random: each is taken and given back unchanged, or refused with a sentence; nothing else."""

import copy
import json
import os
import random
from typing import Any

import pytest

from tests.promises.hostile.values import KEYS, NUMBERS, STRINGS, text
from tests.promises.hostile.wire import checked_problem, request, talk

SUBMISSION = {
    "plan": {
        "name": "fuzz",
        "description": "every part of a plan once",
        "strategy": {"type": "dependency_graph", "max_concurrency": 3},
        "env": {"A": "1"},
        "inputs": {"branch": "main", "rows": [{"a": 1}, {"a": 2.5}]},
        "timeout_seconds": 60,
        "labels": {"team": "qa"},
        "steps": [
            {
                "name": "build",
                "command": {"type": "shell", "command": "echo ${{ inputs.branch }}"},
                "retry": {"max_attempts": 2},
                "artifacts": [{"path": "*.log", "type": "log"}],
                "input": {"deep": [[{"x": None}]]},
            },
            {
                "name": "test",
                "version": "1",
                "needs": ["build"],
                "idempotent": False,
                "timeout_seconds": 1.5,
                "command": {"type": "exec", "program": "true", "args": ["${{ steps.build.outputs.v }}"]},
                "metadata": {"owner": "ann"},
            },
        ],
    },
    "inputs": {"branch": "other"},
    "labels": {"branch": "main"},
    "metadata": {"any": ["thing", 1, 1.5, True]},
    "priority": 5,
}  # fmt: skip
GIVEN = [int(os.environ["SEED"])] if os.environ.get("SEED") else []
SEEDS = GIVEN or [20261121]
MORE = GIVEN or [
    random.SystemRandom().randrange(2**32) for _ in range(int(os.environ.get("SEEDS") or 5))
]


def spoilt(chance: random.Random, value: Any) -> Any:
    """A copy of `value` with something else in one place, or in a few."""
    value = copy.deepcopy(value)
    for _ in range(chance.choice([1, 1, 1, 2, 5])):
        holder, key = chance.choice(list(places(value)))
        match chance.randrange(6):
            case 0:
                holder[key] = odd(chance)
            case 1 if isinstance(holder, dict):
                holder[chance.choice([*KEYS, "name", "type", "plan", "x" * 300])] = odd(chance)
            case 2:
                del holder[key]
            case 3 if isinstance(holder, list):
                holder.extend(copy.deepcopy(holder))
            case 4:
                holder[key] = copy.deepcopy(chance.choice(list(places(value)))[0])
            case _:
                holder[key] = [holder[key]]
        if not any(True for _ in places(value)):
            break
    return value


def places(value: Any):
    """Every member and element, with what holds it."""
    for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(inner, dict | list):
            yield from places(inner)


def odd(chance: random.Random) -> Any:
    return chance.choice(
        [
            chance.choice(list(STRINGS.values())),
            chance.choice(NUMBERS),
            chance.choice([None, True, False, [], {}, [[]], {"": {}}, 2**64, float("nan"), "\ud800"]),
            "${{ " + chance.choice(["inputs.branch", "steps.test.outputs.x", "input.deep", "secrets.k", ""]) + " }}",
            {chance.choice(KEYS): chance.choice(NUMBERS)},
        ]
    )  # fmt: skip


@pytest.mark.parametrize("seed", SEEDS)
def test_spoilt_submissions(target, seed):
    fuzz_values(target, seed, count=400)


@pytest.mark.parametrize("seed", SEEDS)
def test_spoilt_bytes(target, seed):
    fuzz_bytes(target, seed, count=400)


@pytest.mark.chaos
@pytest.mark.parametrize("number", range(len(MORE)))
def test_more_spoilt_submissions(target, number):
    seed = MORE[number]
    fuzz_values(target, seed, count=5_000)
    fuzz_bytes(target, seed, count=5_000)


def fuzz_values(target, seed: int, *, count: int) -> None:
    print(f"seed {seed}: SEED={seed} replays it")
    chance = random.Random(seed)
    taken = 0
    with target.client() as client:
        for _ in range(count):
            body = spoilt(chance, SUBMISSION)
            answer = client.post("/v1/executions", content=json.dumps(body))
            if answer.status_code != 202:
                assert answer.status_code == 422, answer.text
                checked_problem(422, answer.headers["content-type"], answer.content)
                continue
            taken += 1
            stored = client.get(answer.json()["links"]["self"]).json()
            for name in ("plan", "inputs"):
                assert text(stored[name]) == text(body.get(name) or {}), name
            for key, value in body.get("metadata", {}).items():
                assert text(stored["metadata"][key]) == text(value)
            assert stored["labels"] == body["plan"].get("labels", {}) | body.get("labels", {})
    assert 0 < taken < count, "neither all bad nor all good"


def fuzz_bytes(target, seed: int, *, count: int) -> None:
    """Some bytes of a whole request changed, cut out or repeated."""
    print(f"seed {seed}: SEED={seed} replays it")
    chance = random.Random(seed)
    whole = request(b"Idempotency-Key: k\r\nUser-Agent: x\r\n", json.dumps(SUBMISSION).encode())
    for _ in range(count):
        raw = bytearray(whole)
        for _ in range(chance.choice([1, 1, 2, 8])):
            at = chance.randrange(len(raw))
            match chance.randrange(4):
                case 0:
                    raw[at] = chance.randrange(256)
                case 1:
                    raw[at:at] = chance.randbytes(chance.choice([1, 4, 100]))
                case 2:
                    raw[at:at] = raw[at : at + chance.choice([1, 20, 500])]
                case _ if len(raw) > 1_000:
                    del raw[at : at + chance.choice([1, 3])]
        # whatever length it now declares: all that comes is this, then the end
        answer = talk(target.port, bytes(raw), end=True)
        if answer is not None and answer.status not in (200, 202):
            answer.problem()
