"""The gateway loses answers of the database: whoever got no 2xx asks again with the same key, and gets the same run."""

from typing import Any

import pytest

from sandbox.chaos import load
from sandbox.chaos.load import Planned
from tests.promises.crash_points.harness import MORE, QUICK
from tests.promises.lost_answers.chain import Lossy
from tests.promises.lost_answers.writes import Write, inserting, updating
from tests.promises.wire import Wire

pytestmark = [pytest.mark.breaks, pytest.mark.slow, pytest.mark.timeout(600)]
_ACCEPTED = "services/gateway/repository/accepted.py:MongoAcceptedEvents"
_EVENTS = "accepted_events"


def _sets(field: str) -> Any:
    return updating(_EVENTS, lambda _, u: field in u.get("$set", {}))


GATEWAY = (
    Write("accepted", "shared/mongo/group_insert.py:GroupInsert._write", inserting(_EVENTS)),
    Write("marked as published", f"{_ACCEPTED}.mark", _sets("published_at")),
    Write("claimed by a relay", f"{_ACCEPTED}.claim_pending", _sets("claimed_by"), "left_behind"),
    Write(
        "settled",
        f"{_ACCEPTED}.settle",
        updating(_EVENTS, lambda _, u: u.get("$unset") == {"unsettled": ""}),
    ),
    Write(
        "keys freed",
        f"{_ACCEPTED}.release_keys",
        updating(_EVENTS, lambda _, u: "idempotency_key" in u.get("$unset", {})),
        "expired",
    ),
    Write(
        "audit",
        "services/gateway/repository/audit.py:MongoAudit._insert",
        inserting("audit_logs"),
    ),
)


class LossyGateway(Lossy):
    """The executor has its own way to the database."""

    _unanswered: dict[str, Planned]
    """Requests that got a 503, by key."""
    _offered = 0

    def prepare(self) -> None:
        self._unanswered = {}
        self.settings = QUICK | {
            "MONGO__URI": self.wire.uri,
            "GATEWAY__STORAGE_TIMEOUT_MS": "1000",
            "GATEWAY__RELAY_CLAIM_SECONDS": "1",
        }
        self.it.service("executor", **QUICK)

    def mixed(self, module: Any) -> None:
        while module.alive:
            self._ask(f"key-{self._offered}", load.noop(self.rng))
            self._offered += 1
            self._ask_again()

    def left_behind(self, module: Any) -> None:
        """A request of a process that died before it could publish it."""
        while module.alive:
            self._ask(f"key-{self._offered}", load.noop(self.rng))
            self._offered += 1
            self.it.database[_EVENTS].update_many({}, {"$set": {"pending": True}})
            self.died(module, seconds=0.5)

    def expired(self, module: Any) -> None:
        """Whoever asks again after that asks for another run: so nobody may be left who has to."""
        self._ask(f"key-{self._offered}", load.noop(self.rng))
        self._offered += 1
        self._answer_all()
        self.it.database[_EVENTS].update_many(
            {"key_expires_at": {"$exists": True}}, {"$currentDate": {"key_expires_at": True}}
        )

    def end(self) -> None:
        self._answer_all()
        super().end()
        accepted = self.it.database[_EVENTS]
        assert accepted.count_documents({}) == len(self.planned), "each once, and no other"
        self.it.until(
            lambda: not accepted.count_documents({"unsettled": True}),
            what="every request to be settled",
        )
        submitted = {"action": "execution.submit", "target": {"$in": list(self.planned)}}
        entries = self.it.database.audit_logs
        self.it.until(
            lambda: entries.count_documents(submitted) == len(self.planned),
            what="one entry of the audit for each",
        )

    def _ask(self, key: str, planned: Planned) -> None:
        body = {"plan": planned.plan}
        with self.it.client() as client:
            answer = client.post("/v1/executions", json=body, headers={"Idempotency-Key": key})
        if answer.status_code == 503:
            assert "retry-after" in answer.headers
            self._unanswered[key] = planned
            return
        assert answer.status_code == 202, answer.text
        self._unanswered.pop(key, None)
        self.planned[answer.json()["execution_id"]] = planned

    def _answer_all(self) -> None:
        while self._unanswered:
            self._ask_again()

    def _ask_again(self) -> None:
        for key, planned in list(self._unanswered.items()):
            self._ask(key, planned)


@pytest.mark.parametrize("more", MORE)
def test_every_promise_holds(cadenza, more):
    with Wire(cadenza.mongo.port) as wire:
        LossyGateway.over(cadenza, "gateway", wire, more=more).strike_each(GATEWAY, every=more > 0)
