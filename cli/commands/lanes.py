"""`cadenza lanes`: what became of each row of a run's table."""

from typing import Annotated

import typer

from cli.exits import PASSED
from cli.options import ApiKey, AsJson, ExecutionId, Url, gateway
from cli.output import console, duration, print_json, short, status, table


def lanes(
    execution_id: ExecutionId,
    only: Annotated[
        list[str] | None, typer.Option("--status", help="Only lanes in this status; repeatable.")
    ] = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> int:
    """List the lanes of a run, one for each row of its table."""
    query = "".join(f"&status={one}" for one in only or ())
    path = f"/v1/executions/{execution_id}/lanes?limit=200{query}"
    with gateway(url, api_key) as client:
        found = list(client.items(path))
        counts = client.get(f"/v1/executions/{execution_id}").get("lanes") or {}
    if as_json:
        print_json({"lanes": found, "counts": counts})
        return PASSED
    rows = [
        (
            str(lane["lane"]),
            status(lane["status"]),
            lane.get("reason") or ("reused" if lane.get("reused_from") else ""),
            duration(lane.get("duration_ms")),
            short(lane.get("row") or {}),
            lane["execution_id"],
        )
        for lane in found
    ]
    console.print(table(None, ("lane", "status", "reason", "took", "row", "run"), rows))
    told = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    console.print(told, markup=False)
    return PASSED
