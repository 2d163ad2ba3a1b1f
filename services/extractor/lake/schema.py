"""The two shapes of the lake that others build on: the envelope (JSON Schema) and the index row (Arrow).

`_schemas/execution-v1.json` is written once and never changed; another shape is another version.
"""

from datetime import date, datetime
from typing import Any

import pyarrow as pa

from services.extractor.models import Json

TIMES = ("started_at", "ended_at", "extracted_at")

MOMENT = pa.timestamp("ms", tz="UTC")
TYPES: dict[str, pa.DataType] = {
    "customer_id": pa.string(),
    "customer": pa.string(),
    "execution_id": pa.int64(),
    "revision": pa.int32(),
    "version": pa.string(),
    "sha256": pa.string(),
    "raw_sha256": pa.string(),
    "status": pa.string(),
    "outcome": pa.string(),
    "date": pa.date32(),
    "started_at": MOMENT,
    "ended_at": MOMENT,
    "duration_ms": pa.int64(),
    "project_id": pa.int64(),
    "goal_id": pa.int64(),
    "goal": pa.string(),
    "environment_id": pa.int64(),
    "environment": pa.string(),
    "journey_id": pa.int64(),
    "journey": pa.string(),
    "journeys": pa.int32(),
    "passed": pa.int32(),
    "failed": pa.int32(),
    "skipped": pa.int32(),
    "incomplete": pa.list_(pa.string()),
    "key": pa.string(),
    "size_bytes": pa.int64(),
    "extracted_at": MOMENT,
}
NULLABLE = frozenset(
    {
        "status",
        "outcome",
        "started_at",
        "ended_at",
        "duration_ms",
        "project_id",
        "goal_id",
        "goal",
        "environment_id",
        "environment",
        "journey_id",
        "journey",
        "incomplete",
    }
)
ROWS = pa.schema([pa.field(name, kind, name in NULLABLE) for name, kind in TYPES.items()])
"""The columns of `executions.parquet`; a row as JSON has ISO texts for dates and times."""


def table_of(rows: list[Json]) -> pa.Table:
    """Rows as JSON → a table. Fields that are no column (`objects`) stay in the JSON row only."""
    return pa.Table.from_pylist([_typed(row) for row in rows], schema=ROWS)


def _typed(row: Json) -> dict[str, Any]:
    typed: dict[str, Any] = {name: row.get(name) for name in ROWS.names}
    typed["date"] = date.fromisoformat(row["date"])
    for name in TIMES:
        typed[name] = None if row.get(name) is None else datetime.fromisoformat(row[name])
    return typed


_TEXT = {"type": ["string", "null"]}
_NUMBER = {"type": ["integer", "null"]}
_COUNT = {"type": "integer", "minimum": 0}
_JOURNEY = {
    "type": "object",
    "required": ["id"],
    "properties": {
        "id": {"type": "integer"},
        "name": _TEXT,
        "title": _TEXT,
        "status": {"enum": ["missing", "denied"]},
        "steps": {"type": "array", "items": {"type": "object"}},
        "checkpoints": {"type": "array", "items": {"type": "object"}},
    },
}

ENVELOPE: Json = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Virtuoso execution, version 1",
    "type": "object",
    "required": [
        *("customerId", "extractedAt", "schemaVersion"),
        *("execution", "journey", "journeys", "testData", "results"),
    ],
    "properties": {
        "customerId": {"type": "string"},
        "extractedAt": {"type": "string", "format": "date-time"},
        "schemaVersion": {"const": 1},
        "execution": {
            "type": "object",
            "required": ["id", "status", "duration", "startDate", "endDate"],
            "properties": {
                "id": {"type": "integer"},
                "status": _TEXT,
                "outcome": _TEXT,
                "duration": _NUMBER,
                "startDate": _TEXT,
                "endDate": _TEXT,
            },
        },
        "journey": {"anyOf": [_JOURNEY, {"type": "null"}]},
        "journeys": {"type": "array", "items": _JOURNEY},
        "testData": {
            "type": "object",
            "required": ["variables", "environment"],
            "properties": {
                "variables": {"type": "object"},
                "environment": {"type": ["object", "null"]},
            },
        },
        "results": {
            "type": "object",
            "required": ["passed", "failed", "skipped"],
            "properties": {"passed": _COUNT, "failed": _COUNT, "skipped": _COUNT},
            "additionalProperties": False,
        },
    },
}
"""`_schemas/execution-v1.json`."""
