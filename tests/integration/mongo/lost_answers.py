"""What a case of `test_lost_answers.py` is. Cases of one subject may lie in a file of their own."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.promises.wire_messages import Message

NOW = datetime(2026, 6, 1, tzinfo=UTC)
Facts = Any


@dataclass(frozen=True)
class Case:
    """`act` is called again after an error; `facts` must come out as without one."""

    writes: Callable[[Message], bool]
    act: Callable[[], Awaitable[Any]]
    facts: Callable[[], Awaitable[Facts]]
    expected: Facts


def commands(collection: str, *names: str) -> Callable[[Message], bool]:
    return lambda message: message.collection == collection and message.command in names


def updates(collection: str) -> Callable[[Message], bool]:
    return commands(collection, "update", "findAndModify", "delete", "insert")
