"""How test cases are shown."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.text import Text

from cli.client import Client, Json
from cli.output import STYLES, duration, short, table

SHOWN = 10
_STYLES = {"passed": STYLES["completed"], "skipped": STYLES["skipped"]}


def totals_line(results: Mapping[str, Any] | None) -> Text | None:
    """`12 tests: 9 passed (1 flaky), 2 failed, 1 skipped`; None when nothing was reported."""
    if not results:
        return None
    flaky = f" ({results['flaky']} flaky)" if results.get("flaky") else ""
    parts = [f"{results.get('passed', 0)} passed{flaky}"]
    parts += [f"{results[name]} {name}" for name in ("failed", "skipped") if results.get(name)]
    style = STYLES["failed"] if results.get("failed") else STYLES["completed"]
    return Text(f"{results.get('tests', 0)} tests: {', '.join(parts)}", style)


def failed_cases(client: Client, execution_id: str, *, limit: int = SHOWN) -> list[Json]:
    """The first cases that failed, errors included."""
    path = f"/v1/executions/{execution_id}/tests"
    found = list(client.items(path, status="failed", limit=limit))
    if len(found) < limit:
        found += client.items(path, status="error", limit=limit - len(found))
    return found


def cases_table(cases: Iterable[Json]) -> Any:
    """A line for each."""
    return table(
        None,
        ("test", "status", "duration", "retries", "message"),
        (
            (
                ".".join(filter(None, (case.get("class_name"), case["name"]))),
                _status(case),
                duration(case.get("duration_ms")),
                case.get("retries") or "",
                short(case.get("message")),
            )
            for case in cases
        ),
    )


def _status(case: Json) -> Text:
    status = "flaky" if case.get("flaky") else str(case["status"])
    return Text(status, _STYLES.get(status, STYLES["timed_out" if status == "flaky" else "failed"]))
