"""SQL over a tenant's index, and over nothing else.

Each question gets a DuckDB of its own in memory that knows one table, `executions`. Files, networks, extensions and
Python's variables are locked away before the question is read, the lock cannot be lifted, and only one SELECT passes.
"""

import asyncio
import math
import threading
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from time import monotonic
from typing import Any

import duckdb
import pyarrow as pa

from services.extractor.errors import BadQuery, QueryTimeout

LOCKED: dict[str, Any] = {
    "enable_external_access": False,
    "python_enable_replacements": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    "threads": 2,
}
TABLE = "executions"
BATCH_ROWS = 1_000
"""As many are in memory before their size is judged."""


@dataclass(frozen=True, slots=True)
class QueryLimits:
    """What one question may cost."""

    rows: int = 10_000
    seconds: float = 20.0
    memory: str = "512MB"
    answer_bytes: int = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class QueryResult:
    """Columns and rows in JSON's types; `truncated` when there were more rows than the limit."""

    columns: list[str]
    rows: list[list[Any]]
    truncated: bool
    elapsed_ms: float


class LakeQuery:
    """Answers questions; each runs in a thread."""

    def __init__(self, limits: QueryLimits) -> None:
        self._limits = limits

    async def run(self, sql: str, table: pa.Table) -> QueryResult:
        """Raises BadQuery with DuckDB's own words, QueryTimeout."""
        return await asyncio.to_thread(self._run, sql, table)

    def _run(self, sql: str, table: pa.Table) -> QueryResult:
        started = monotonic()
        config = LOCKED | {"memory_limit": self._limits.memory}
        with duckdb.connect(":memory:", config=config) as connection:
            connection.register(TABLE, table)
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute("SET lock_configuration = true")
            statement = _only_select(connection, sql)
            timer = threading.Timer(self._limits.seconds, connection.interrupt)
            timer.start()
            try:
                columns, rows = self._fetch(connection, statement)
            except duckdb.InterruptException:
                raise QueryTimeout(f"the query took longer than {self._limits.seconds} s") from None
            except duckdb.Error as error:
                raise BadQuery(str(error)) from None
            except (pa.ArrowException, ValueError, OverflowError) as error:  # years beyond 9999
                raise BadQuery(f"the answer holds a value that JSON cannot: {error}") from None
            finally:
                timer.cancel()
        limit = self._limits.rows
        return QueryResult(
            columns=columns,
            rows=[[plain(value) for value in row] for row in rows[:limit]],
            truncated=len(rows) > limit,
            elapsed_ms=round((monotonic() - started) * 1000, 1),
        )

    def _fetch(
        self, connection: duckdb.DuckDBPyConnection, statement: Any
    ) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Through Arrow, whose times need no further library."""
        wanted = self._limits.rows + 1
        reader = connection.sql(statement).to_arrow_reader(min(wanted, BATCH_ROWS))
        rows: list[tuple[Any, ...]] = []
        room = self._limits.answer_bytes
        for batch in reader:
            room -= batch.nbytes
            if room < 0:
                raise BadQuery(f"the answer is larger than {self._limits.answer_bytes} bytes")
            rows += zip(*(column.to_pylist() for column in batch.columns), strict=True)
            if len(rows) >= wanted:
                break
        return reader.schema.names, rows


def _only_select(connection: duckdb.DuckDBPyConnection, sql: str) -> Any:
    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise BadQuery(str(error)) from None
    if len(statements) != 1:
        raise BadQuery(f"one statement is allowed, not {len(statements)}")
    if statements[0].type != duckdb.StatementType.SELECT:
        raise BadQuery(f"only SELECT is allowed, not {statements[0].type.name}")
    return statements[0]


def plain(value: Any) -> Any:
    """A value in JSON's types: times as ISO text, decimals as numbers where exact, nothing that JSON cannot say."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {str(name): plain(one) for name, one in value.items()}
    return _scalar(value)


def _scalar(value: Any) -> Any:
    match value:
        case float() if math.isfinite(value):
            return value
        case datetime():
            return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case Decimal() if value == value.to_integral_value():
            return int(value)
        case timedelta():
            return value.total_seconds()
    return str(value)
