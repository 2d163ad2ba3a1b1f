"""A run that the executor cannot take up ends as failed(rejected) for its caller, and can be sent once more."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from bson import json_util

from shared.events.run import RunRequested
from shared.ids import new_id
from tests.promises.platform import Platform

pytestmark = pytest.mark.breaks

QUICK = {
    "GATEWAY__RELAY_SECONDS": "0.1",
    "GATEWAY__RELAY_GRACE_SECONDS": "0",
    "GATEWAY__RECONCILE_SECONDS": "0.3",
    "GATEWAY__RECONCILE_AFTER_SECONDS": "0.3",
}


def accept(it: Platform, **changes: object) -> str:
    """An accepted run as a gateway of another version might have stored it; returns its id."""
    id_ = new_id()
    at = datetime.now(UTC) - timedelta(seconds=10)
    request = RunRequested(
        **{
            "id": id_,
            "tenant": "acme",
            "occurred_at": at,
            "execution_id": id_,
            "user_id": "ann",
            "plan": {"name": "p", "steps": [{"name": "a", "command": {"type": "shell"}}]},
            "content_hash": "0" * 64,
            **changes,
        }
    )
    it.database.accepted_events.insert_one(
        {
            "_id": id_,
            "tenant": "acme",
            "topic": request.topic,
            "key": id_,
            "subject": id_,
            "content_hash": request.content_hash,
            "accepted_at": at,
            "body": request.body(),
            "headers": request.cloudevents_headers(),
            "pending": True,
            "unsettled": True,
        }
    )
    return id_


def command(it: Platform, *argv: str) -> dict:
    """What a command of the operator answers."""
    done = subprocess.run(
        [sys.executable, "-m", "cli", *argv, "--json"],
        env={
            **os.environ,
            "KAFKA__BOOTSTRAP_SERVERS": it.kafka.bootstrap_servers,
            "MONGO__URI": it.mongo.uri,
            "MONGO__DATABASE": it.settings.database,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_dead_lettered_run_reads_failed_rejected_and_is_not_published_again(cadenza):
    it = cadenza
    unstorable = accept(it, inputs={"n": 10**30})
    it.service("executor")
    it.service("gateway", **QUICK)
    healthy = it.submit({"name": "a", "command": {"type": "shell", "command": "true"}})

    def answer(id_: str) -> dict:
        with it.client() as client:
            return client.get(f"/v1/executions/{id_}").json()

    it.until(lambda: answer(unstorable)["status"] == "failed", what="the rejection")
    told = answer(unstorable)
    assert told["reason"] == "rejected"
    assert told["error"].startswith("handler_failed: invalid_request")
    with it.client() as client:
        steps = client.get(f"/v1/executions/{unstorable}/steps").json()["items"]
        assert [(step["status"], step["reason"]) for step in steps] == [("skipped", "rejected")]
        assert client.post(f"/v1/executions/{unstorable}/cancel").status_code == 409
    assert it.wait_final(healthy)[0]["status"] == "completed", "the others go on"

    mine = [row for row in command(it, "dlq", "list")["items"] if row["key"] == unstorable]
    assert [(row["reason"], row["attempts"]) for row in mine] == [("handler_failed", 1)]
    document = it.database.accepted_events.find_one({"_id": unstorable})
    assert "republished" not in document, json_util.dumps(document)
