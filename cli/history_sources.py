"""Where history comes from: a file of JSON lines, or the second system's own database."""

import hashlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bson import json_util

from cli.exits import Usage
from services.executor.history import Numbered
from services.executor.history_records import COLLECTIONS


class Source(Protocol):
    """Records, numbered from 1 in an order that stays."""

    @property
    def label(self) -> str:
        """Tells one source from another; without passwords."""
        ...

    def records(self) -> AsyncIterator[Numbered]: ...


@dataclass(frozen=True, slots=True)
class Lines:
    """Each line is a record of `collection`, or says so itself: `{"collection": …, "document": {…}}`."""

    path: Path
    collection: str | None

    @property
    def label(self) -> str:
        with self.path.open("rb") as file:
            return f"{self.collection or ''}#{hashlib.file_digest(file, 'sha256').hexdigest()}"

    async def records(self) -> AsyncIterator[Numbered]:
        with self.path.open(encoding="utf-8", errors="replace") as file:
            for place, line in enumerate(file, start=1):
                if line.strip():
                    yield (place, *self._read(line))

    def _read(self, line: str) -> tuple[str, Mapping[str, Any]]:
        """A line that cannot be read is a record without anything, which is refused with its place."""
        try:
            found = json_util.loads(line)
        except (ValueError, TypeError):
            found = None
        if self.collection is not None:
            return self.collection, found if isinstance(found, dict) else {}
        if not isinstance(found, dict) or not isinstance(found.get("document"), dict):
            return "unreadable", {}
        return str(found.get("collection")), found["document"]


@dataclass(frozen=True, slots=True)
class SecondDatabase:
    """The collections of the schema document in another database: `mongodb://host/name`."""

    uri: str

    @property
    def label(self) -> str:
        scheme, _, rest = self.uri.partition("://")
        return f"{scheme}://{rest.rpartition('@')[2]}"

    def records(self) -> AsyncIterator[Numbered]:
        from services.executor.repository.second_database import records_of

        return records_of(self.uri)


def source_of(named: str, collection: str | None = None) -> Source:
    """The source behind a file name or a MongoDB address. Raises Usage."""
    if named.startswith(("mongodb://", "mongodb+srv://")):
        return SecondDatabase(named)
    path = Path(named)
    if not path.is_file():
        raise Usage(f"{named} is no file.")
    if collection is not None and collection not in COLLECTIONS:
        raise Usage(f"--collection is one of: {', '.join(COLLECTIONS)}.")
    return Lines(path, collection)
