"""`cadenza queue` and `cadenza workers` against a scripted gateway."""

import json

import pytest

from cli.__main__ import run
from cli.exits import FAILED, PASSED, USAGE

RUN = "01900000-0000-7000-8000-000000000001"
ONE, TWO = "01900000-0000-7000-8000-00000000000a", "01900000-0000-7000-8000-00000000000b"
NOON = "2026-01-31T12:00:00.000Z"


def worker(id_, **changes):
    return {
        "worker_id": id_,
        "host": "build-1",
        "state": "active",
        "used": 3,
        "slots": 64,
        "labels": ["browser"],
        "version": "0.1.0",
        "started_at": NOON,
        **changes,
    }


@pytest.fixture
def workers(gateway):
    gateway.answers["GET /v1/workers"] = (
        200,
        {"items": [worker(ONE), worker(TWO, host="build-2")], "next_cursor": None},
    )
    return gateway


def test_the_queue_shows_each_reason(gateway, capsys):
    waiting = {
        "execution_id": RUN,
        "name": "deploy",
        "priority": 5,
        "reason": f"key `db` busy, held by {ONE}",
        "code": "key_busy",
        "start_by": None,
        "created_at": NOON,
    }
    gateway.answers["GET /v1/queue"] = (200, {"items": [waiting], "next_cursor": None})
    assert run(["queue"]) == PASSED
    shown = "".join(capsys.readouterr().out.split())
    assert "key`db`busy" in shown
    assert run(["queue", "--json"]) == PASSED
    assert json.loads(capsys.readouterr().out) == {"items": [waiting]}
    gateway.answers["GET /v1/queue"] = (200, {"items": [], "next_cursor": None})
    assert run(["queue"]) == PASSED
    assert "nothing waits" in capsys.readouterr().out


def test_workers_are_listed(workers, capsys):
    assert run(["workers", "list"]) == PASSED
    shown = capsys.readouterr().out
    assert "3/64" in shown and "build-2" in shown


@pytest.mark.parametrize("name", [TWO, TWO[-4:], "build-2"])
def test_a_worker_is_told_and_waited_for(workers, capsys, name):
    states = iter(["draining", "drained"])
    workers.answers |= {
        f"POST /v1/workers/{TWO}/drain": (202, {"worker_id": TWO, "state": "active"}),
        f"GET /v1/workers/{TWO}": lambda _: (200, worker(TWO, state=next(states))),
    }
    assert run(["workers", "drain", name]) == PASSED
    assert f"{TWO} is drained" in capsys.readouterr().out.replace("\n", " ")


def test_nobody_waits_when_not_asked_to(workers, capsys):
    workers.answers[f"POST /v1/workers/{ONE}/pause"] = (202, {"worker_id": ONE, "state": "active"})
    assert run(["workers", "pause", "build-1", "--no-wait"]) == PASSED
    assert "is active" in capsys.readouterr().out.replace("\n", " ")


def test_a_name_that_is_not_one_worker_is_said(workers, capsys):
    assert run(["workers", "resume", "nobody"]) == USAGE
    assert "no worker 'nobody'" in capsys.readouterr().err
    workers.answers["GET /v1/workers"] = (200, {"items": [worker(ONE), worker(TWO)]})
    assert run(["workers", "resume", "build-1"]) == USAGE
    assert "2 workers" in capsys.readouterr().err


def test_a_worker_that_does_not_obey_in_time_is_a_failure(workers):
    workers.answers |= {
        f"POST /v1/workers/{ONE}/resume": (202, {"worker_id": ONE, "state": "paused"}),
        f"GET /v1/workers/{ONE}": (200, worker(ONE, state="paused")),
    }
    assert run(["workers", "resume", ONE, "--timeout", "0.2"]) == FAILED
