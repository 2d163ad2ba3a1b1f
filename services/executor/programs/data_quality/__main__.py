"""`python -m services.executor.programs.data_quality REQUEST`: profile a table, write the report and the outputs."""

import json
import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from services.executor.programs.data_quality.columns import Column, columns_of
from services.executor.programs.data_quality.reading import open_sample
from services.executor.programs.data_quality.request import (
    END,
    FAILED,
    REPORT,
    ProfileRequest,
    Unusable,
)
from services.executor.programs.data_quality.scoring import (
    WEIGHTS,
    correlations,
    dimensions_of,
    functional_dependencies,
    is_critical,
    issues_of,
    recommendations_of,
    score_of,
)

MOST_TOLD = 100


def main(arguments: list[str]) -> int:
    """The exit code."""
    request = ProfileRequest.model_validate_json(Path(arguments[0]).read_text("utf-8"))
    try:
        report = profile(request)
    except Unusable as error:
        print(f"{error.reason}: {error}", file=sys.stderr)
        _put_out({END: {"reason": error.reason, "error": str(error)}}, request)
        return FAILED
    Path(request.report).write_text(json.dumps(report, indent=2), "utf-8")
    _put_out(_brief(report), request)
    print(f"{report['rows']} rows, {len(report['columns'])} columns, score {report['score']:.3f}")
    return 0


def profile(request: ProfileRequest) -> dict[str, Any]:
    """The whole report. Raises Unusable."""
    connection, total = open_sample(request)
    columns = columns_of(connection)
    dimensions = dimensions_of(columns)
    issues = issues_of(columns)
    rows = columns[0].counts["total"]
    report = {
        "rows": total,
        "sampled_rows": rows,
        "score": round(score_of(dimensions), 6),
        "dimensions": {name: round(value, 6) for name, value in dimensions.items()},
        "weights": WEIGHTS,
        "columns": [_told(column) for column in columns],
        "correlations": correlations(connection, columns),
        "functional_dependencies": functional_dependencies(connection, columns),
        "issues": [asdict(issue) for issue in issues],
        "recommendations": recommendations_of(issues),
    }
    finite: dict[str, Any] = _finite(report)
    return finite


def _put_out(outputs: dict[str, Any], request: ProfileRequest) -> None:
    with Path(request.outputs).open("a", encoding="utf-8") as file:
        file.write(json.dumps(outputs) + "\n")


def _told(column: Column) -> dict[str, Any]:
    return asdict(column) | {"critical": is_critical(column)}


def _brief(report: dict[str, Any]) -> dict[str, Any]:
    """What later steps get: without the details, which are in the report."""
    columns = [{k: v for k, v in one.items() if k != "details"} for one in report["columns"]]
    kept = ("rows", "sampled_rows", "score", "dimensions", "recommendations")
    return {
        **{name: report[name] for name in kept},
        "columns": columns,
        "issues": report["issues"][:MOST_TOLD],
        "report": REPORT,
    }


def _finite(value: Any) -> Any:
    """JSON knows no infinities: such a figure is null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list) else value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
