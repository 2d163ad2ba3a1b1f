"""Query parameters that several resources share."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Header, Query
from pydantic import AfterValidator, AwareDatetime

from shared.errors import FieldError, InvalidRequest

Limit = Annotated[int, Query(ge=1, le=200, description="Most items to return.")]
Cursor = Annotated[
    str | None, Query(max_length=256, description="`next_cursor` of the page before.")
]


def _utc(moment: datetime) -> datetime:
    """In UTC, as the database wants it; at the ends of the calendar not every moment has a UTC time."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("lies outside the years 1 to 9999 of UTC") from None


Moment = Annotated[AwareDatetime, AfterValidator(_utc)]
IdempotencyKey = Annotated[
    str | None,
    Header(
        description="Up to 255 characters, remembered for 24 h: the same key and body give the same answer once more, "
        "the same key with another body gives 409.",
        examples=["build-4711"],
    ),
]


def number_cursor(cursor: str | None) -> int:
    """A cursor that is a number; 0 for none. Raises InvalidRequest."""
    if cursor is None:
        return 0
    if cursor.isascii() and cursor.isdigit() and len(cursor) < 19:
        return int(cursor)
    message = "is not a cursor of this list"
    raise InvalidRequest(f"cursor {message}", errors=[FieldError("cursor", "cursor", message)])
