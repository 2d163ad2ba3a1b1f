"""`cadenza queue`: which runs wait, and why."""

from typing import Annotated

import typer
from rich.text import Text

from cli.exits import PASSED
from cli.options import ApiKey, AsJson, Url, gateway
from cli.output import console, moment, print_json, table


def queue(
    limit: Annotated[int, typer.Option(help="How many at most.", min=1)] = 50,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> int:
    """Waiting runs in the order in which they will start, with the reason why each one waits."""
    with gateway(url, api_key) as client:
        found = list(client.items("/v1/queue", limit=limit))
    if as_json:
        print_json({"items": found})
        return PASSED
    if not found:
        console.print("nothing waits")
        return PASSED
    rows = (
        (
            run["execution_id"],
            run.get("name") or "",
            str(run["priority"]),
            Text(run["reason"]),
            moment(run.get("start_by")),
            moment(run.get("created_at")),
        )
        for run in found
    )
    columns = ("execution", "name", "priority", "reason", "start by", "created")
    console.print(table(None, columns, rows))
    return PASSED
