"""Tables of rows that lie in artifacts: CSV with a header, or a JSON list of objects. Pure."""

import csv
import io
import json
from typing import Any, Literal

from services.executor.commands.children import UnusableTable
from shared.plans.rows import MAX_ROWS, Row

MAX_TABLE_BYTES = 64 * 1024 * 1024


def read_table(data: bytes, format: Literal["csv", "json"]) -> list[Row]:
    """The rows. Raises UnusableTable with a sentence."""
    rows = _csv(data) if format == "csv" else _json(data)
    if not rows:
        raise UnusableTable("the table has no rows")
    if len(rows) > MAX_ROWS:
        raise UnusableTable(f"the table has {len(rows)} rows; at most {MAX_ROWS} are allowed")
    return rows


def _csv(data: bytes) -> list[Row]:
    try:
        reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        rows: list[dict[str | None, Any]] = list(reader)
    except UnicodeDecodeError as error:
        raise UnusableTable(f"the table is not UTF-8 (byte {error.start})") from None
    except csv.Error as error:
        raise UnusableTable(f"the table is no CSV: {error}") from None
    out: list[Row] = []
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise UnusableTable(f"row {number} of the table has not as many fields as its header")
        out.append({str(name): value for name, value in row.items()})
    return out


def _json(data: bytes) -> list[Row]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UnusableTable(f"the table is no JSON: {str(error)[:200]}") from None
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise UnusableTable("the table must be a JSON list of objects")
    return value
