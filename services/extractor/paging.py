"""Cursors of the list of extractions: the place after the last entry of a page, opaque to callers."""

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from shared.errors import FieldError, InvalidRequest


def cursor_of(document: Mapping[str, Any]) -> str:
    """Where a page ends."""
    at = round(document["created_at"].timestamp() * 1000)
    return base64.urlsafe_b64encode(f"{at}:{document['_id']}".encode()).decode()


def place_of(cursor: str) -> tuple[datetime, str]:
    """Creation time and id of the entry that a cursor names. Raises InvalidRequest."""
    try:
        at, _, id_ = base64.urlsafe_b64decode(cursor.encode()).decode().partition(":")
        return datetime.fromtimestamp(int(at) / 1000, UTC), id_
    except (ValueError, binascii.Error, OverflowError, OSError):
        wrong = FieldError("after", "cursor", "is not a cursor that this list gave")
        raise InvalidRequest("the cursor cannot be read", errors=[wrong]) from None
