"""How writes look on the wire."""

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


def sets_status(update: Body, status: str) -> bool:
    return update.get("$set", {}).get("status") == status
