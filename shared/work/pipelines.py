"""Updates of the queue's own fields as aggregation pipelines: times are the server's, and many items change at once.

No caller's data goes through here but under `$literal`.
"""

from typing import Any

from shared.mongo.changes import KEPT_TRANSITIONS
from shared.work.descriptor import Queue
from shared.work.items import FINAL_FIELDS
from shared.work.ports import FINAL, SEQUENCE_BITS

Stage = dict[str, Any]

_NEW_EPOCH = {"$add": ["$epoch", 1]}
_FIRST_SEQUENCE = {"$multiply": ["$epoch", 1 << SEQUENCE_BITS]}


_AWAKE: Stage = {"wake_at": None, "wake_keys": [], "heard": [], "unlooked": False}


def literal(value: Any) -> dict[str, Any]:
    return {"$literal": value}


def lease_until(seconds: float) -> Stage:
    return {"$add": ["$$NOW", round(seconds * 1000)]}


def claimed(queue: Queue, *, owner: str, token: str) -> list[Stage]:
    """From queued to running, held by `token` under a new epoch."""
    lease = {
        "owner": literal(owner),
        "token": literal(token),
        "until": lease_until(queue.lease_seconds),
    }
    change = {
        "status": "running",
        "epoch": _NEW_EPOCH,
        "lease": lease,
        "started_at": {"$ifNull": ["$started_at", "$$NOW"]},
        "updated_at": "$$NOW",
        "blocked_on": None,
        "start_by": None,
        "told_of_cancel": False,
    }
    return [{"$set": change}, {"$set": _announced(queue.started, {"status": "$status"})}]


def let_go(queue: Queue, *, reason: str, lost: bool) -> list[Stage]:
    """From running to queued without its owner's help; `lost` counts a lost worker. A cancelled one ends."""
    given_up = {"$gte": ["$recoveries", queue.max_recoveries]}
    branches = [{"case": {"$ne": [{"$ifNull": ["$cancel", None]}, None]}, "then": "cancelled"}]
    if lost:
        branches.append({"case": given_up, "then": "failed"})
    outcome = {"$switch": {"branches": branches, "default": "queued"}}
    change: Stage = {
        "status": outcome,
        "epoch": _NEW_EPOCH,
        "lease": None,
        "updated_at": "$$NOW",
        "recoveries": {"$add": ["$recoveries", int(lost)]},
    }
    return [{"$set": change}, *_closed(queue, reason)]


def cancelled(queue: Queue, mark: Stage) -> list[Stage]:
    """From queued or waiting to cancelled."""
    change = {
        "status": "cancelled",
        "epoch": _NEW_EPOCH,
        "lease": None,
        "updated_at": "$$NOW",
        "cancel": mark,
        **_AWAKE,
    }
    return [{"$set": change}, *_closed(queue, "cancelled")]


def woken(queue: Queue, *, reason: str, cancel: Stage | None = None) -> list[Stage]:
    """From waiting to queued; with `cancel` to be ended by whoever claims it."""
    waited = {"$subtract": ["$$NOW", {"$ifNull": ["$waiting_since", "$$NOW"]}]}
    change: Stage = {
        "status": "queued",
        "epoch": _NEW_EPOCH,
        "updated_at": "$$NOW",
        "waited_ms": {"$add": [{"$ifNull": ["$waited_ms", 0]}, waited]},
        "waiting_since": None,
        "rested": _NEW_EPOCH,
        **_AWAKE,
    }
    if cancel is not None:
        change["cancel"] = cancel
    said = {"status": "$status", "reason": literal(reason)}
    return [{"$set": change}, {"$set": _announced(queue.requeued, said)}]


def never_started(queue: Queue, status: str, reason: str) -> list[Stage]:
    """From queued to an end that is not a cancel: nobody has worked on it, and nobody will."""
    change = {
        "status": status,
        "epoch": _NEW_EPOCH,
        "lease": None,
        "blocked_on": None,
        "updated_at": "$$NOW",
    }
    return [{"$set": change}, *_closed(queue, reason)]


def _closed(queue: Queue, reason: str) -> list[Stage]:
    """After `status` was set: the fields and the event that go with it, final or not."""
    final = {"$in": ["$status", list(FINAL)]}
    ended = {
        "reason": {
            "$switch": {
                "branches": [
                    {
                        "case": {"$eq": ["$status", "cancelled"]},
                        "then": {"$ifNull": ["$cancel.code", "cancelled"]},
                    },
                    {"case": final, "then": literal(reason)},
                ],
                "default": None,
            }
        },
        "completed_at": {"$cond": [final, "$$NOW", None]},
        "untold": {"$and": [final, {"$gt": ["$parent_id", None]}]},
        "duration_ms": {"$cond": [final, {"$subtract": ["$$NOW", "$started_at"]}, None]},
    }
    open_data = {"status": "$status", "reason": literal(reason)}
    final_data = {name: f"${name}" for name in FINAL_FIELDS}
    if queue.requeued == queue.finished:
        type_: Any = queue.finished
    else:
        type_ = {"$cond": [final, literal(queue.finished), literal(queue.requeued)]}
    return [
        {"$set": ended},
        {"$set": _announced(type_, {"$cond": [final, final_data, open_data]})},
    ]


def _announced(type_: Any, data: Stage) -> Stage:
    """The next sequence of the new epoch and the event that carries it; no event when `type_` is or yields None."""
    if type_ is None:
        return {"sequence": _FIRST_SEQUENCE}
    sequence = {"$add": [_FIRST_SEQUENCE, 1]}
    previous = {"$cond": [{"$gt": ["$sequence", 0]}, "$sequence", None]}
    event = {"sequence": sequence, "prev": previous, "type": type_, "at": "$$NOW", "data": data}
    return {
        "sequence": sequence,
        "events": _appended("$events", event, type_),
        "transitions": {"$slice": [_appended("$transitions", event, type_), -KEPT_TRANSITIONS]},
    }


def _appended(array: str, element: Stage, type_: Any) -> Stage:
    added: Any = [element]
    if not isinstance(type_, str):
        added = {"$cond": [{"$eq": [type_, None]}, [], [element]]}
    return {"$concatArrays": [{"$ifNull": [array, []]}, added]}
