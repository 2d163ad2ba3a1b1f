"""Reading lists page by page: one more than asked for tells whether more follows."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from pymongo.asynchronous.cursor import AsyncCursor

from services.gateway.models import Page
from shared.errors import FieldError, InvalidRequest
from shared.mongo.client import Document, translated
from shared.mongo.documents import faithful
from shared.views.base import View

EPOCH = datetime.fromtimestamp(0, UTC)
MILLISECOND = timedelta(milliseconds=1)
NEWEST_FIRST = [("created_at", -1), ("_id", -1)]

V = TypeVar("V", bound=View)


async def page_of(
    cursor: AsyncCursor[Document], view: type[V], *, limit: int, key: Callable[[V], object]
) -> Page:
    """Up to `limit` items of `cursor`; `key` gives the cursor of what follows from the last of them."""
    async with translated():
        documents = await cursor.limit(limit + 1).to_list()
    items = [view.from_document(faithful(document)) for document in documents[:limit]]
    return Page(items, str(key(items[-1])) if len(documents) > limit else None)


def within(after: datetime | None, before: datetime | None) -> dict[str, datetime]:
    """The condition for a moment in `after ≤ t < before`; empty when neither is given."""
    condition = {}
    if after is not None:
        condition["$gte"] = after
    if before is not None:
        condition["$lt"] = before
    return condition


def given(conditions: Mapping[str, Any]) -> dict[str, Any]:
    """Only those conditions that were asked for."""
    return {field: wanted for field, wanted in conditions.items() if wanted not in (None, {})}


def position_of(created_at: datetime, id: str) -> str:
    """Cursor of a list that is sorted `NEWEST_FIRST`."""
    return f"{(created_at - EPOCH) // MILLISECOND}.{id}"


def older_than(cursor: str) -> list[dict[str, Any]]:
    """The conditions, any of which holds for what follows this cursor. Raises InvalidRequest."""
    milliseconds, _, last_id = cursor.partition(".")
    try:
        moment = EPOCH + int(milliseconds) * MILLISECOND
    except (ValueError, OverflowError):
        raise bad_cursor() from None
    return [{"created_at": {"$lt": moment}}, {"created_at": moment, "_id": {"$lt": last_id}}]


def bad_cursor() -> InvalidRequest:
    """The cursor was not made by this list."""
    message = "is not a cursor of this list"
    return InvalidRequest(f"cursor {message}", errors=[FieldError("cursor", "cursor", message)])
