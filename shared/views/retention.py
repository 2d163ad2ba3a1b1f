"""What is removed by age: the rule of the executor, which removes, for the gateway, which says what will go."""

from datetime import datetime
from typing import Any, Literal

from shared.ids import uuid7
from shared.work.ports import FINAL

Kind = Literal["artifacts", "steps", "executions", "imported"]
KINDS: tuple[Kind, ...] = ("artifacts", "steps", "executions", "imported")
"""In the order in which they go. `imported`: runs that were brought in from elsewhere, whose ids tell no time."""

ENDED = {"status": {"$in": list(FINAL)}, "events.0": {"$exists": False}, "keep": {"$ne": True}}
"""Of runs that have ended, have published everything and are not kept."""


def ended_before(moment: datetime) -> dict[str, Any]:
    """Of a run that began to exist before `moment`, whatever its id spells."""
    return {**ENDED, "created_at": {"$not": {"$gte": moment}}}


def first_id(moment: datetime) -> str:
    """The lowest id that a run accepted at `moment` may have."""
    return str(uuid7(int(moment.timestamp() * 1000), bytes(10)))
