"""What the executor writes, how each write looks on the wire, and what makes a process send it."""

from tests.promises.lost_answers.writes import (
    Write,
    cleared,
    ended,
    inserting,
    sets_status,
    setting,
    told,
    updating,
)

RUNS, STEPS, WAKES = "executions", "execution_steps", "execution_wakes"
_INGEST = "shared/work/ingest.py:_insert_all"
_COMMIT = "shared/mongo/bulk.py:BulkWriter._send"
_CANCEL = "shared/work/cancelling.py:Cancelling"
_LEASES = "shared/work/leases.py:Leases"
_WAITING = "shared/work/waiting.py:Waiting"
_CLEAR = "shared/mongo/clearing.py:Clearing._clear"
_GROUP = "shared/mongo/group_insert.py:GroupInsert._write"
_STAMP = "services/executor/repository/taking_over.py:Predecessors.shut_out"

EXECUTOR = (
    Write("steps of a batch", _INGEST, inserting(STEPS)),
    Write("runs of a batch", _INGEST, inserting(RUNS)),
    Write("runs that start at once", _INGEST, inserting(RUNS), "one_by_one"),
    Write(
        "claim",
        "shared/work/claims.py:Claims._take",
        updating(RUNS, lambda q, u: "$and" in q and sets_status(u, "running")),
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
        updating(RUNS, lambda _, u: sets_status(u, "cancelled")),
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
    Write("test cases", _GROUP, inserting("execution_test_cases")),
    Write("events of runs cleared", _CLEAR, cleared(RUNS)),
    Write("events of steps cleared", _CLEAR, cleared(STEPS)),
    # what waits, and what it waits for
    Write(
        "memory of a step",
        _COMMIT,
        updating(STEPS, lambda q, u: "applied" in q and bool(u.get("$set", {}).get("memory"))),
        "wakes",
    ),
    Write("put aside", _COMMIT, ended(RUNS, "waiting"), "wakes"),
    Write(
        "wake told",
        "shared/work/waking.py:MongoWakes._store",
        lambda message: message.command == "findAndModify" and message.collection == WAKES,
        "wakes",
    ),
    Write(
        "woken by its wake",
        f"{_WAITING}._wake",
        updating(RUNS, lambda q, _: "wake_keys" in q),
        "wakes",
    ),
    Write("wake applied", f"{_WAITING}.apply", setting(WAKES, "applied"), "wakes"),
    Write(
        "looked, and found a wake",
        f"{_WAITING}._look",
        updating(RUNS, lambda q, u: "wake_keys" not in q and "waited_ms" in u.get("$set", {})),
        "wakes",
    ),
    Write(
        "looked, and found nothing",
        f"{_WAITING}._look",
        updating(RUNS, lambda q, u: u.get("$set") == {"unlooked": False}),
        "wakes",
    ),
    Write(
        "cancel of a parent that waits",
        f"{_CANCEL}._queue_marked",
        updating(RUNS, lambda q, u: q.get("told_of_cancel") is True and "waited_ms" in u["$set"]),
        "cancel_waiting",
    ),
    Write(
        "parents told",
        "services/executor/repository/kin.py:MongoKin.told",
        updating(RUNS, lambda _, u: u.get("$set") == {"untold": False}),
        "lanes",
    ),
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
