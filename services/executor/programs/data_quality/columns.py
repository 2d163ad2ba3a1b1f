"""Figures of one column: counts, and what its kind allows."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb

from services.executor.programs.data_quality.detection import (
    CHECKS,
    LOOKED_AT,
    classification_of,
    format_of,
    kind_of,
    moment_of,
)

MAX_OUTLIERS = 50
TOP, TOP_CATEGORIES = 10, 20
NOT_APPLICABLE = 0.8
"""The consistency of a column whose values have no shape to share."""
SHAPED = ("email", "phone", "url", "uuid", "ip", "currency", "datetime", "string")
_DIGIT, _LETTER = re.compile(r"[0-9]"), re.compile(r"[^\W\d_]")
_NUMBERS = re.compile(r"(TINY|SMALL|BIG|HUGE|U|UTINY|USMALL|UBIG|UHUGE)?INT(EGER)?")


@dataclass(frozen=True, slots=True)
class Column:
    """What is known of a column. Shares are 0 to 1."""

    name: str
    kind: str
    classification: str | None
    counts: Mapping[str, int]
    scores: Mapping[str, float]
    """completeness, uniqueness, validity, consistency"""
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_number(self) -> bool:
        return self.kind in ("integer", "float")

    @property
    def outlier_share(self) -> float:
        known = self.counts["total"] - self.counts["null"]
        return self.details["outliers"]["count"] / known if known and self.is_number else 0.0


def columns_of(connection: duckdb.DuckDBPyConnection) -> list[Column]:
    """Every column of the table `sample`, in its order."""
    described = connection.execute("DESCRIBE sample").fetchall()
    return [_column(connection, name, type_) for name, type_, *_ in described]


def quoted(name: str) -> str:
    """A column's name inside SQL, whatever it contains."""
    return '"' + name.replace('"', '""') + '"'


def number(column: Column) -> str:
    """SQL of a numeric column's values; what is no number is NULL."""
    return f"TRY_CAST({quoted(column.name)} AS DOUBLE)"


def _column(connection: duckdb.DuckDBPyConnection, name: str, type_: str) -> Column:
    text = f"CAST({quoted(name)} AS VARCHAR)"
    rows = connection.execute(
        f"SELECT {text}, count(*) FROM sample GROUP BY 1 ORDER BY 2 DESC, 1"  # noqa: S608
    ).fetchall()
    values = Counter({value: count for value, count in rows if value is not None})
    total, known = sum(count for _, count in rows), values.total()
    first = connection.execute(
        f"SELECT {text} FROM sample WHERE {text} IS NOT NULL LIMIT {LOOKED_AT}"  # noqa: S608
    ).fetchall()
    kind = _known_kind(type_) or kind_of([value for (value,) in first])
    classification = classification_of(name)
    check = CHECKS.get(kind) if type_ == "VARCHAR" else None
    valid = {value: count for value, count in values.items() if not check or check(value.strip())}
    shapes = _shapes(values) if type_ == "VARCHAR" else Counter()
    column = Column(
        name,
        kind,
        classification,
        {
            "total": total,
            "null": total - known,
            "unique": len(values),
            "duplicate": known - len(values),
        },
        {
            "completeness": known / total if total else 0.0,
            "uniqueness": len(values) / known if known else 0.0,
            "validity": sum(valid.values()) / known if known else 0.0,
            "consistency": _consistency(kind, shapes, known),
        },
    )
    details = _details(connection, column, values, shapes)
    return Column(column.name, kind, classification, column.counts, column.scores, details)


def _known_kind(type_: str) -> str | None:
    """What a typed file says by itself; None for text."""
    if _NUMBERS.fullmatch(type_):
        return "integer"
    if type_ in ("FLOAT", "DOUBLE") or type_.startswith("DECIMAL"):
        return "float"
    if type_.startswith(("TIMESTAMP", "DATE", "TIME")):
        return "datetime"
    if type_ == "VARCHAR":
        return None
    known = {"BOOLEAN": "boolean", "UUID": "uuid"}
    return known.get(
        type_, "json" if type_.endswith("]") or "(" in type_ or type_ == "JSON" else "string"
    )


def _shapes(values: Counter[str]) -> Counter[str]:
    shapes: Counter[str] = Counter()
    for value, count in values.items():
        shapes[_LETTER.sub("A", _DIGIT.sub("9", value))] += count
    return shapes


def _consistency(kind: str, shapes: Counter[str], known: int) -> float:
    if kind not in SHAPED or not shapes or not known:
        return NOT_APPLICABLE
    return shapes.most_common(1)[0][1] / known


def _details(
    connection: duckdb.DuckDBPyConnection,
    column: Column,
    values: Counter[str],
    shapes: Counter[str],
) -> dict[str, Any]:
    """Values of columns that are personal or secret by their name are not shown."""
    shown = column.classification is None
    if not values:
        return {"outliers": {"count": 0, "values": []}} if column.is_number else {}
    if column.is_number:
        return _numbers(connection, column, shown=shown)
    if column.kind == "datetime":
        return _moments(values)
    if column.kind == "categorical":
        known = values.total()
        top = {v: count / known for v, count in values.most_common(TOP_CATEGORIES)}
        return {"cardinality": len(values), "distribution": top if shown else {}}
    lengths = [(len(value), count) for value, count in values.items()]
    return {
        "length": {
            "min": min(length for length, _ in lengths),
            "max": max(length for length, _ in lengths),
            "average": sum(length * count for length, count in lengths) / values.total(),
        },
        "patterns": _ranked(shapes),
        "top_values": _ranked(values) if shown else [],
    }


def _ranked(counter: Counter[str]) -> list[dict[str, Any]]:
    best = sorted(counter.items(), key=lambda item: (-item[1], item[0]))[:TOP]
    return [{"value": value[:200], "count": count} for value, count in best]


def _numbers(
    connection: duckdb.DuckDBPyConnection, column: Column, *, shown: bool
) -> dict[str, Any]:
    value = number(column)
    row: Sequence[Any] = (
        connection.execute(
            f"""SELECT min(v), max(v), avg(v), median(v), stddev_samp(v), var_samp(v),
                   quantile_cont(v, 0.25), quantile_cont(v, 0.75)
            FROM (SELECT {value} AS v FROM sample) WHERE isfinite(v)"""  # noqa: S608
        ).fetchone()
        or [None] * 8
    )
    names = ("min", "max", "mean", "median", "standard_deviation", "variance", "q1", "q3")
    figures = dict(zip(names, row, strict=True))
    mode = connection.execute(
        f"SELECT v FROM (SELECT {value} AS v FROM sample) WHERE isfinite(v)"  # noqa: S608
        " GROUP BY v ORDER BY count(*) DESC, v LIMIT 1"
    ).fetchone()
    figures["mode"] = mode[0] if mode else None
    far: list[float] = []
    if figures["q1"] is not None:
        reach = 1.5 * (figures["q3"] - figures["q1"])
        found = connection.execute(
            f"SELECT v FROM (SELECT {value} AS v FROM sample) WHERE v < ? OR v > ? ORDER BY v",  # noqa: S608
            [figures["q1"] - reach, figures["q3"] + reach],
        ).fetchall()
        far = [one for (one,) in found]
    outliers = {"count": len(far), "values": far[:MAX_OUTLIERS] if shown else []}
    return {**figures, "outliers": outliers}


def _moments(values: Counter[str]) -> dict[str, Any]:
    """Texts with a zone and without are compared as they are written, without it."""
    formats: Counter[str] = Counter()
    moments = []
    for value, count in values.items():
        if (moment := moment_of(value.strip())) is not None:
            formats[format_of(value.strip()) or ""] += count
            moments.append(moment.replace(tzinfo=None))
    return {
        "earliest": min(moments).isoformat() if moments else None,
        "latest": max(moments).isoformat() if moments else None,
        "format": formats.most_common(1)[0][0] if formats else None,
    }
