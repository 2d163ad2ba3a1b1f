"""Runs that wait lose nothing: no decision, no event, no slot, whoever dies meanwhile."""

import hashlib
import hmac
import json
import os
import signal
import time
from datetime import timedelta

import httpx
import pytest

from sandbox.seven_ps.app import TOKEN
from sandbox.seven_ps.callbacks import Callbacks
from sandbox.seven_ps.faults import Faults as SevenPsFaults
from sandbox.seven_ps.server import Simulator as SevenPs
from sandbox.virtuoso.faults import Faults as VirtuosoFaults
from sandbox.virtuoso.server import Simulator as Virtuoso
from tests.builders.outside import served
from tests.builders.runs import a_step
from tests.flow.test_seven_ps_step import a_set_step
from tests.flow.test_virtuoso_step import a_goal_step
from tests.promises.platform import check_invariants
from tests.promises.processes import shell

pytestmark = [pytest.mark.breaks, pytest.mark.timeout(180)]


def approval(name="gate", **arguments):
    return a_step(name, command={"type": "approval", "message": "ship it?", **arguments})


def event(key, name="hear", **arguments):
    return a_step(name, command={"type": "wait_for_event", "key": key, **arguments})


def waiting(cadenza, *ids):
    """Once all of them have given their slots back."""
    query = {"_id": {"$in": list(ids)}, "status": "waiting"}
    executions = cadenza.database.executions
    cadenza.until(lambda: executions.count_documents(query) == len(ids), what="them to wait")


def decide(cadenza, execution_id, step, verdict, **body):
    with cadenza.client(body.pop("key", "acme-key")) as client:
        return client.post(f"/v1/executions/{execution_id}/steps/{step}/{verdict}", json=body)


def tell(cadenza, key, data):
    with cadenza.client() as client:
        answer = client.post(f"/v1/events/{key}", json=data)
    assert answer.status_code == 202, answer.text


def test_an_approval_outlives_its_executor(cadenza):
    cadenza.service("gateway")
    first = cadenza.service("executor")
    execution_id = cadenza.submit(
        shell("echo built", "build"),
        {**approval(), "idempotent": False},
        shell("echo ${{ steps.gate.outputs.by }}", "ship"),
    )
    waiting(cadenza, execution_id)
    (_, gate, _) = cadenza.steps(execution_id)
    assert (gate["status"], gate["waiting_for"]["message"]) == ("running", "ship it?")
    os.kill(first.pid, signal.SIGKILL)

    assert decide(cadenza, execution_id, "gate", "approve", key="other-key").status_code == 404
    assert decide(cadenza, execution_id, "build", "approve").status_code == 409
    answer = decide(cadenza, execution_id, "gate", "approve", comment="fine")
    assert answer.status_code == 202, answer.text
    assert decide(cadenza, execution_id, "2", "reject").status_code == 202, "it comes too late"
    cadenza.service("executor")
    (document,) = cadenza.wait_final(execution_id, timeout=40)

    assert (document["status"], document["recoveries"]) == ("completed", 0)
    build, gate, ship = cadenza.steps(execution_id)
    assert [len(step["attempts"]) for step in (build, gate, ship)] == [1, 1, 1]
    output = gate["output"]
    assert (output["approved"], output["by"], output["comment"]) == (True, "ann", "fine")
    assert decide(cadenza, execution_id, "gate", "approve").status_code == 409
    check_invariants(cadenza, [execution_id])
    audit = cadenza.database.audit_logs
    cadenza.until(lambda: audit.count_documents({"action": "step.approve"}) == 1, what="the audit")
    assert audit.find_one({"action": "step.approve"})["details"]["comment"] == "fine"


def test_a_cancel_of_a_run_that_waits_starts_its_clean_up_and_nothing_else(cadenza, tmp_path):
    mark = tmp_path / "mark"
    cadenza.service("gateway")
    cadenza.service("executor")
    execution_id = cadenza.submit(
        approval(),
        shell(f"echo shipped >> {mark}", "ship", needs=["gate"]),
        shell(f"echo clean >> {mark}", "clean", needs=["gate"], always=True),
        strategy={"type": "dependency_graph"},
    )
    waiting(cadenza, execution_id)
    with cadenza.client() as client:
        answer = client.post(f"/v1/executions/{execution_id}/cancel", json={"reason": "enough"})
    assert answer.status_code == 202, answer.text
    (document,) = cadenza.wait_final(execution_id, timeout=40)
    assert (document["status"], mark.read_text()) == ("cancelled", "clean\n")
    gate, ship, clean = cadenza.steps(execution_id)
    assert gate["status"] in ("cancelled", "skipped")
    assert (ship["status"], clean["status"]) == ("skipped", "completed")
    check_invariants(cadenza, [execution_id])


@pytest.mark.chaos
def test_a_rejection_and_silence_end_a_step_with_reasons_of_their_own(cadenza):
    cadenza.service("gateway")
    cadenza.service("executor", EXECUTOR__REST_AFTER_SECONDS="0.2")
    rejected = cadenza.submit(approval(), a_step("never"))
    silent = cadenza.submit(approval(within_seconds=1.5))
    unheard = cadenza.submit(event("nobody", within_seconds=1))
    chosen = cadenza.submit(approval(approvers=["oli"]))
    waiting(cadenza, rejected, chosen)
    assert decide(cadenza, chosen, "gate", "approve").status_code == 403
    decide(cadenza, rejected, "gate", "reject", comment="not on a Friday")
    cadenza.wait_final(rejected, silent, unheard)
    ends = {}
    for one in (rejected, silent, unheard):
        step = cadenza.steps(one)[0]
        ends[one] = (step["status"], step["reason"])
        assert step["waiting_for"] is None
        assert step["memory"] is None
    assert ends[rejected] == ("failed", "rejected")
    assert "not on a Friday" in cadenza.steps(rejected)[0]["error"]
    assert ends[silent] == ("timed_out", "approval_timeout")
    assert ends[unheard] == ("timed_out", "event_timeout")
    with cadenza.client() as client:
        assert client.post(f"/v1/executions/{chosen}/cancel").status_code == 202
    (document,) = cadenza.wait_final(chosen)
    assert document["status"] == "cancelled"
    assert decide(cadenza, chosen, "gate", "approve", key="other-key").status_code == 404
    check_invariants(cadenza, [rejected, silent, unheard])


def test_an_event_is_heard_before_and_after_the_wait_and_by_all_who_wait(cadenza):
    cadenza.service("gateway")
    cadenza.service("executor")
    cadenza.service("executor")
    tell(cadenza, "early/bird", {"n": 1, "a.b": {"$c": 2}})
    early = cadenza.submit(event("early/bird"))
    (document,) = cadenza.wait_final(early)
    assert document["status"] == "completed"
    assert cadenza.steps(early)[0]["output"] == {"n": 1, "a.b": {"$c": 2}}
    late = [cadenza.submit(event("late")) for _ in range(5)]
    waiting(cadenza, *late)
    tell(cadenza, "late", {"n": 2})
    for one in cadenza.wait_final(*late):
        assert one["status"] == "completed"
        assert cadenza.steps(one["_id"])[0]["output"] == {"n": 2}
    check_invariants(cadenza, [early, *late])


@pytest.mark.chaos
def test_an_event_reaches_a_run_that_stays_with_its_owner(cadenza, tmp_path):
    cadenza.service("gateway")
    cadenza.service("executor")
    go, seen = tmp_path / "go", tmp_path / "seen"
    execution_id = cadenza.submit(
        event("now"),
        shell(f"until test -e {go}; do sleep 0.05; done", "beside"),
        shell(f"touch {seen}", "after", needs=["hear"]),
        strategy={"type": "dependency_graph"},
    )
    steps = cadenza.database.execution_steps
    query = {"execution_id": execution_id, "waiting_for.kind": "event"}
    cadenza.until(lambda: steps.count_documents(query) == 1, what="the step to wait")
    tell(cadenza, "now", {})
    cadenza.until(seen.exists, timeout=10, what="the step after it")
    assert cadenza.execution(execution_id)["status"] == "running"
    go.touch()
    (document,) = cadenza.wait_final(execution_id)
    assert (document["status"], document["epoch"]) == ("completed", 1)


@pytest.mark.chaos
def test_a_long_backoff_keeps_no_slot(cadenza, tmp_path):
    cadenza.service("gateway")
    cadenza.service("executor", EXECUTOR__RUN_SLOTS="1", EXECUTOR__REST_AFTER_SECONDS="0.5")
    mark = tmp_path / "mark"
    retry = {"max_attempts": 2, "initial_delay_seconds": 4}
    tried = cadenza.submit(
        shell(f"echo x >> {mark}; test $(wc -l < {mark}) -gt 1", retry=retry, idempotent=False)
    )
    cadenza.until(mark.exists, what="the first try")
    other = cadenza.submit(a_step())
    cadenza.wait_final(other)
    assert cadenza.execution(tried)["status"] == "waiting"
    (document,) = cadenza.wait_final(tried)
    assert document["status"] == "completed"
    statuses = [one["status"] for one in cadenza.steps(tried)[0]["attempts"]]
    assert statuses == ["failed", "completed"]
    check_invariants(cadenza, [tried, other])


@pytest.mark.chaos
def test_the_time_that_a_run_waits_is_not_its_own(cadenza):
    cadenza.service("gateway")
    cadenza.service("executor", EXECUTOR__REST_AFTER_SECONDS="0.2")
    execution_id = cadenza.submit(approval(), shell("true", "after"), timeout_seconds=3)
    waiting(cadenza, execution_id)
    waits = {"_id": execution_id, "$expr": {"$gt": [{"$subtract": ["$$NOW", "$started_at"]}, 3500]}}
    executions = cadenza.database.executions
    cadenza.until(lambda: executions.count_documents(waits) == 1, what="more than its timeout")
    decide(cadenza, execution_id, "gate", "approve")
    (document,) = cadenza.wait_final(execution_id)
    assert document["status"] == "completed"
    assert document["waited_ms"] > 2000


@pytest.fixture
def outside(cadenza):
    """Virtuoso and 7PS, of which the second calls the gateway back."""
    secret = "of-acme-for-webhooks"
    gateway = cadenza.service("gateway", AUTH__WEBHOOK_SECRETS=json.dumps({"acme": secret}))
    virtuoso = Virtuoso(faults=VirtuosoFaults(step_ms=1))
    seven_ps = SevenPs(
        faults=SevenPsFaults(step_ms=1), callbacks=Callbacks(tenant="acme", secret=secret)
    )
    with served([virtuoso, seven_ps]):
        proxy = cadenza.service(
            "proxy",
            PROXY__UPSTREAM_URL=virtuoso.url,
            PROXY__UPSTREAM_TOKEN="sandbox-token",
        )
        cadenza.service(
            "executor",
            EXECUTOR__REST_AFTER_SECONDS="0.2",
            EXECUTOR__PROXY_URL=proxy.url,
            EXECUTOR__PROXY_KEYS='{"acme": "acme-key"}',
            EXECUTOR__SEVEN_PS_URL=seven_ps.url,
            EXECUTOR__SEVEN_PS_TOKEN=TOKEN,
            EXECUTOR__SEVEN_PS_CALLBACK_URL=f"{gateway.url}/webhook/seven-ps",
            EXECUTOR__SECRETS='{"acme": {"db_user": "dana-db", "db_password": "hunter2-hunter2"}}',
        )
        yield virtuoso, secret


def test_a_webhook_ends_steps_that_would_ask_in_five_minutes(cadenza, outside):
    virtuoso, secret = outside
    begun = time.monotonic()
    sets = cadenza.submit(a_set_step(poll_seconds=300, timeout_seconds=900))
    goal = cadenza.submit(a_goal_step(poll_seconds=300, timeout_seconds=900))
    waiting(cadenza, goal)
    shown = cadenza.steps(goal)[0]["waiting_for"]
    assert shown["kind"] == "virtuoso"
    assert shown["until"] - shown["since"] > timedelta(minutes=3)
    status = f"{virtuoso.url}/executions/{shown['job']}/status"
    with httpx.Client(trust_env=False, headers={"Authorization": "Bearer sandbox-token"}) as there:
        cadenza.until(lambda: "FINISHED" in there.get(status).text, what="its end in Virtuoso")
    raw = json.dumps({"customerId": "001", "executionId": int(shown["job"])}).encode()
    digest = hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()
    signed = {"X-Cadenza-Tenant": "acme", "X-Cadenza-Signature": f"sha256={digest}"}
    with cadenza.client() as client:
        del client.headers["X-API-Key"]
        answer = client.post("/webhook/execution-complete", content=raw, headers=signed)
    assert answer.status_code == 202, answer.text

    for document in cadenza.wait_final(sets, goal, timeout=60):
        assert document["status"] == "completed", cadenza.steps(document["_id"])
        assert document["results"]["tests"] > 0
        cases = cadenza.database.execution_test_cases
        found = cases.count_documents({"execution_id": document["_id"]})
        assert found == document["results"]["tests"]
    assert time.monotonic() - begun < 120, "nobody asked: the first look would come after 240 s"
    check_invariants(cadenza, [sets, goal])
