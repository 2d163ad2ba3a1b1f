"""One change of one document, as it waits for its turn in a group.

It is encoded when it is submitted, so that what BSON cannot hold fails there and never inside a group.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import bson
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument

from shared.errors import PermanentError
from shared.mongo.client import UTC_DOCUMENTS
from shared.work.events import to_document
from shared.work.ports import PendingEvent

KEPT_CHANGES = 16
KEPT_TRANSITIONS = 256
"""More than a step of the most tries that a plan may ask for has: a follower who comes back late finds all of them."""


class InvalidChange(PermanentError):
    """The change cannot be stored: BSON cannot hold it, or the server refuses it."""

    code = "invalid_change"


class LostGuard(PermanentError):
    """The document is no longer in the state that the change was guarded by, or a change it needs failed."""

    code = "lost_guard"


@dataclass(frozen=True, slots=True)
class Emission:
    """Events that a change stores in its document. `head` is what the event factory reads of that document."""

    stream: str
    """Events of one stream are published in order of their sequence: the item's id, for its children too."""
    head: Mapping[str, Any]
    events: Sequence[PendingEvent]


@dataclass(frozen=True, slots=True)
class Change:
    """A classic update (`$set`, `$push`, `$inc`…, no pipeline) of the document `document_id`.

    `guard` is what must hold for it to be applied. `needs` are ids of changes without which it must not be applied.
    `absorbs` is the id of an earlier change of the same document: if that one still waits, both become one.
    """

    id: str
    collection: str
    document_id: Any
    update: Mapping[str, Mapping[str, Any]]
    guard: Mapping[str, Any] = field(default_factory=dict)
    needs: Sequence[str] = ()
    absorbs: str | None = None
    emits: Emission | None = None


@dataclass(frozen=True, slots=True)
class Encoded:
    """One element of the server's `update` command."""

    statement: RawBSONDocument
    size: int


def absorb(earlier: Change, later: Change) -> Change:
    """Both changes as one, under the id and the place of the later one. What both set, the later one sets.

    The guard is the earlier one's: the later one's would ask for what the earlier one was to write.
    """
    update = {operator: dict(fields) for operator, fields in earlier.update.items()}
    for operator, fields in later.update.items():
        merged = update.setdefault(operator, {})
        for name, value in fields.items():
            merged[name] = _combine(operator, merged[name], value) if name in merged else value
    return replace(
        later,
        update=update,
        guard=earlier.guard,
        needs=(*earlier.needs, *later.needs),
        absorbs=earlier.absorbs,
        emits=_join(earlier.emits, later.emits),
    )


def encode(change: Change, *, max_bytes: int) -> Encoded:
    """Raises InvalidChange."""
    statement = {
        "q": {"_id": change.document_id, **change.guard, "applied": {"$ne": change.id}},
        "u": _complete(change),
        "hint": {"_id": 1},  # spares the server to compare the indexes that the guard would fit
    }
    try:
        raw = bson.encode(statement, codec_options=UTC_DOCUMENTS)
    except (BSONError, OverflowError, UnicodeError, RecursionError, TypeError, ValueError) as error:
        raise InvalidChange(f"a value cannot be stored: {error}", change=change.id) from error
    if len(raw) > max_bytes:
        raise InvalidChange("the change is larger than a group may be", change=change.id)
    return Encoded(RawBSONDocument(raw), len(raw))


def _complete(change: Change) -> dict[str, Any]:
    """The update with what every change adds: its id, the time, its events."""
    update: dict[str, Any] = dict(change.update)
    pushes: dict[str, Any] = {
        **update.get("$push", {}),
        "applied": {"$each": [change.id], "$slice": -KEPT_CHANGES},
    }
    if change.emits is not None and change.emits.events:
        events = change.emits.events
        pushes["events"] = {"$each": [to_document(event) for event in events]}
        pushes["transitions"] = {
            "$each": [to_document(event) for event in events],
            "$slice": -KEPT_TRANSITIONS,
        }
    update["$push"] = pushes
    update["$currentDate"] = {**update.get("$currentDate", {}), "updated_at": True}
    return update


def _combine(operator: str, earlier: Any, later: Any) -> Any:
    if operator == "$inc":
        return earlier + later
    if operator == "$push":
        return {
            **_each(earlier),
            **_each(later),
            "$each": _each(earlier)["$each"] + _each(later)["$each"],
        }
    return later


def _each(pushed: Any) -> dict[str, Any]:
    if isinstance(pushed, dict) and "$each" in pushed:
        return {**pushed, "$each": list(pushed["$each"])}
    return {"$each": [pushed]}


def _join(earlier: Emission | None, later: Emission | None) -> Emission | None:
    if earlier is None or later is None:
        return earlier or later
    return replace(later, events=(*earlier.events, *later.events))
