"""From figures to a judgement: dimensions, the weighted score, issues, at most ten recommendations. Pure, but for the
relations between columns, which DuckDB counts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Any, Literal

import duckdb

from services.executor.programs.data_quality.columns import Column, number, quoted

WEIGHTS = {
    "completeness": 0.25,
    "validity": 0.25,
    "consistency": 0.20,
    "uniqueness": 0.15,
    "accuracy": 0.10,
    "timeliness": 0.05,
}
ASSUMED = {"accuracy": 0.8, "timeliness": 0.8}
"""Nothing in a file tells how true and how fresh it is."""
MAX_RECOMMENDATIONS = 10
MAX_RELATED = 20
"""Columns between which relations are looked for: there are as many pairs as the square of it."""

Severity = Literal["high", "medium", "low"]


@dataclass(frozen=True, slots=True)
class Issue:
    """Something that is not as it should be."""

    column: str
    rule: str
    severity: Severity
    message: str
    advice: str


def dimensions_of(columns: Sequence[Column]) -> dict[str, float]:
    """The mean of each dimension over all columns."""
    measured = {
        name: sum(column.scores[name] for column in columns) / len(columns)
        for name in WEIGHTS
        if name not in ASSUMED
    }
    return {name: (measured | ASSUMED)[name] for name in WEIGHTS}


def score_of(dimensions: dict[str, float]) -> float:
    """0 to 1."""
    return sum(weight * dimensions[name] for name, weight in WEIGHTS.items())


def is_critical(column: Column) -> bool:
    """It is half empty, often wrong, personal or secret."""
    scores = column.scores
    return (
        scores["completeness"] < 0.5
        or scores["validity"] < 0.8
        or column.classification is not None
    )


def issues_of(columns: Sequence[Column]) -> list[Issue]:
    """All issues, the gravest first."""
    order = ("high", "medium", "low")
    found = [issue for column in columns for issue in _issues(column)]
    return sorted(found, key=lambda issue: order.index(issue.severity))


def recommendations_of(issues: Sequence[Issue]) -> list[str]:
    """At most ten, of the gravest issues."""
    return list(dict.fromkeys(issue.advice for issue in issues))[:MAX_RECOMMENDATIONS]


def _issues(column: Column) -> Iterator[Issue]:
    name, scores = column.name, column.scores
    known = column.counts["total"] - column.counts["null"]
    nulls = 1 - scores["completeness"]
    if nulls > 0.1:
        severity: Severity = "high" if nulls > 0.5 else "medium"
        advice = f"find out why '{name}' is empty so often, or make it required"
        yield Issue(name, "nulls", severity, f"{nulls:.1%} of the values are missing", advice)
    if known and scores["validity"] < 0.95:
        severity = "high" if scores["validity"] < 0.8 else "medium"
        wrong = f"{1 - scores['validity']:.1%} of the values are no {column.kind}"
        yield Issue(name, "validity", severity, wrong, f"check '{name}' where it comes in")
    if scores["consistency"] < 0.8:
        told = f"the commonest shape covers {scores['consistency']:.1%} of the values"
        yield Issue(name, "consistency", "low", told, f"write '{name}' in one format")
    if column.outlier_share > 0.05:
        told = f"{column.outlier_share:.1%} of the values lie far outside"
        yield Issue(name, "outliers", "medium", told, f"look at the extreme values of '{name}'")
    if known and column.counts["unique"] == 1:
        advice = f"drop '{name}', or find out why it never changes"
        yield Issue(name, "single_value", "low", "every value is the same", advice)
    elif known and scores["uniqueness"] < 0.01:
        told = f"only {scores['uniqueness']:.2%} of the values differ"
        yield Issue(name, "few_values", "low", told, f"keep '{name}' as a category")


def correlations(
    connection: duckdb.DuckDBPyConnection, columns: Sequence[Column]
) -> list[dict[str, Any]]:
    """Pearson's, between every two columns of numbers that vary."""
    found = []
    for one, other in combinations([c for c in columns if c.is_number][:MAX_RELATED], 2):
        row = connection.execute(
            f"SELECT corr({number(one)}, {number(other)}) FROM sample"  # noqa: S608
        ).fetchone()
        if row and row[0] is not None and row[0] == row[0]:
            found.append({"columns": [one.name, other.name], "value": row[0]})
    return found


def functional_dependencies(
    connection: duckdb.DuckDBPyConnection, columns: Sequence[Column]
) -> list[dict[str, str]]:
    """Where each value of one column has one value of the other; a key determines everything and is left out, and so
    are columns with one value.
    """
    related = [c for c in columns if c.counts["unique"] > 1][:MAX_RELATED]
    found = []
    for one, other in permutations(related, 2):
        if one.scores["uniqueness"] == 1:
            continue
        row = connection.execute(
            f"""SELECT count(*) FROM (SELECT {quoted(one.name)} FROM sample
                WHERE {quoted(one.name)} IS NOT NULL GROUP BY 1
                HAVING count(DISTINCT CAST({quoted(other.name)} AS VARCHAR)) > 1)"""  # noqa: S608
        ).fetchone()
        if row and row[0] == 0:
            found.append({"determinant": one.name, "dependent": other.name})
    return found
