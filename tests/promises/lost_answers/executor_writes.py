"""What the executor writes, how each write looks on the wire, and what makes a process send it."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.promises.wire import Matches
from tests.promises.wire_messages import Body, Message


@dataclass(frozen=True, slots=True)
class Write:
    """`reach` names the chain's method that makes a process come by; `at` is the function that sends it."""

    name: str
    at: str
    matches: Matches
    reach: str = "mixed"


def inserting(collection: str) -> Matches:
    return lambda message: message.command == "insert" and message.collection == collection


def updating(collection: str, fits: Callable[[Body, Body], bool]) -> Matches:
    """Some statement of an update has such a query and such a change (of a pipeline: its first stage)."""

    def matches(message: Message) -> bool:
        if message.command != "update" or message.collection != collection:
            return False
        return any(fits(one["q"], _first(one["u"])) for one in message.statements)

    return matches


def told(collection: str, *types: str) -> Matches:
    """A change of the group commit that stores an event of one of these types."""
    return updating(collection, lambda q, u: "applied" in q and bool(_types(u) & set(types)))


def ended(collection: str, *statuses: str) -> Matches:
    """A change of the group commit that sets the status."""
    return updating(
        collection, lambda q, u: "applied" in q and u.get("$set", {}).get("status") in statuses
    )


def setting(collection: str, field: str) -> Matches:
    return updating(collection, lambda _, u: field in u.get("$set", {}))


def cleared(collection: str) -> Matches:
    return updating(collection, lambda _, u: "events" in u.get("$pull", {}))


def _first(update: Body | list[Body]) -> Body:
    return update[0] if isinstance(update, list) else update


def _types(update: Body) -> set[str]:
    events = update.get("$push", {}).get("events", {}).get("$each", ())
    return {event["type"] for event in events}


def _sets_status(update: Body, status: str) -> bool:
    return update.get("$set", {}).get("status") == status


RUNS, STEPS = "executions", "execution_steps"
_INGEST = "shared/work/ingest.py:_insert_all"
_COMMIT = "shared/mongo/bulk.py:BulkWriter._send"
_CANCEL = "shared/work/cancelling.py:Cancelling"
_LEASES = "shared/work/leases.py:Leases"
_CLEAR = "shared/mongo/clearing.py:Clearing._clear"
_GROUP = "shared/mongo/group_insert.py:GroupInsert._write"
_STAMP = "services/executor/repository/journal.py:MongoJournal._stamp"

EXECUTOR = (
    Write("steps of a batch", _INGEST, inserting(STEPS)),
    Write("runs of a batch", _INGEST, inserting(RUNS)),
    Write("runs that start at once", _INGEST, inserting(RUNS), "one_by_one"),
    Write(
        "claim",
        "shared/work/claims.py:Claims._take",
        updating(RUNS, lambda q, u: "cancel" in q and _sets_status(u, "running")),
        "crowd",
    ),
    Write(
        "tombstone",
        f"{_CANCEL}._leave_tombstone",
        lambda message: message.command == "findAndModify" and message.collection == RUNS,
        "cancel_first",
    ),
    Write(
        "burial",
        "shared/work/ingest.py:Ingest._bury",
        updating(RUNS, lambda q, _: "tombstone" in q),
        "cancel_first",
    ),
    Write(
        "cancel of a queued run",
        f"{_CANCEL}._end_queued",
        updating(RUNS, lambda _, u: _sets_status(u, "cancelled")),
        "cancel_queued",
    ),
    Write("cancel mark", f"{_CANCEL}._mark_running", setting(RUNS, "cancel"), "cancel_running"),
    Write("renewal", f"{_LEASES}.renew", setting(RUNS, "lease.until"), "long"),
    Write(
        "hand back",
        f"{_LEASES}._hand_back",
        updating(RUNS, lambda q, _: isinstance(q.get("lease.token"), dict)),
        "orphan",
    ),
    Write("step started", _COMMIT, told(STEPS, "step.started")),
    Write("step retried", _COMMIT, told(STEPS, "step.retrying")),
    Write("step finished", _COMMIT, told(STEPS, "step.finished")),
    Write("run finished", _COMMIT, ended(RUNS, "completed", "failed")),
    Write("run cancelled by its owner", _COMMIT, ended(RUNS, "cancelled"), "cancel_running"),
    Write("logs", _GROUP, inserting("execution_logs")),
    Write("artifacts", _GROUP, inserting("execution_artifacts")),
    Write("events of runs cleared", _CLEAR, cleared(RUNS)),
    Write("events of steps cleared", _CLEAR, cleared(STEPS)),
    # a process has gone, and another one takes over
    Write(
        "recovery",
        f"{_LEASES}._recover",
        updating(RUNS, lambda _, u: "recoveries" in u.get("$set", {}) and "lease" in u["$set"]),
        "lost",
    ),
    Write(
        "steps stamped", _STAMP, updating(STEPS, lambda q, _: "$lt" in str(q.get("epoch"))), "lost"
    ),
    Write(
        "logs fenced",
        _COMMIT,
        updating(RUNS, lambda _, u: "log_fences" in u.get("$push", {})),
        "lost",
    ),
    Write("lost try recorded", _COMMIT, told(STEPS, "step.attempt_lost"), "lost"),
    Write("given back", _COMMIT, ended(RUNS, "queued"), "terminate"),
)
