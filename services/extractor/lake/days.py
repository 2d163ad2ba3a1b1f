"""The `metadata.json` of a day, computed from the index: counts, hashes, timings."""

from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from services.extractor.lake.moments import iso
from services.extractor.models import Json

LISTED = ("execution_id", "key", "revision", "version", "sha256", "raw_sha256", "size_bytes")


@dataclass(frozen=True, slots=True)
class DayMetadata:
    """A day and what is said of it."""

    day: date
    content: Json


def day_metadata(table: pa.Table, day: str) -> DayMetadata:
    """What the day's folder holds."""
    wanted = date.fromisoformat(day)
    rows = table.filter(pc.equal(table["date"], pa.scalar(wanted, pa.date32())))
    rows = rows.sort_by("execution_id")
    durations = _values(rows, "duration_ms")
    extracted = _values(rows, "extracted_at")
    outcomes = _values(rows, "outcome")
    content = {
        "date": day,
        "executions": rows.num_rows,
        "outcomes": {one: outcomes.count(one) for one in sorted(set(outcomes))},
        "results": {name: sum(_values(rows, name)) for name in ("passed", "failed", "skipped")},
        "incomplete": sum(map(bool, _values(rows, "incomplete"))),
        "bytes": sum(_values(rows, "size_bytes")),
        "durationMs": {
            "total": sum(durations),
            "min": min(durations, default=None),
            "max": max(durations, default=None),
        },
        "extractedAt": {"first": iso(min(extracted)), "last": iso(max(extracted))},
        "files": rows.select(LISTED).to_pylist(),
    }
    return DayMetadata(wanted, content)


def _values(rows: pa.Table, column: str) -> list[Any]:
    """A column without its gaps."""
    return [value for value in rows[column].to_pylist() if value is not None]
