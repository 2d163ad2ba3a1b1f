"""`cadenza validate FILE`: would this plan be accepted?"""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from cli.exits import FAILED, PASSED, Refused
from cli.options import ApiKey, AsJson, Url, gateway
from cli.output import console, print_json
from cli.plans import load_plan
from cli.tables import with_table

UNPROCESSABLE = 422


def validate(
    file: Annotated[Path, typer.Argument(help="The plan, YAML or JSON.", show_default=False)],
    data: Annotated[
        Path | None, typer.Option(help="CSV or JSON table of the rows, as for run.")
    ] = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> int:
    """Check a plan without running it; leave with 0 when it is valid and 1 when it is not. A table that lies beside it
    is uploaded.
    """
    plan = load_plan(file)
    with gateway(url, api_key) as client:
        plan = with_table(plan, file.parent, client=client, data=data)
        try:
            answer = client.post("/v1/executions/validate", {"plan": plan})
        except Refused as refusal:
            if refusal.status != UNPROCESSABLE or not as_json:
                refusal.code = FAILED if refusal.status == UNPROCESSABLE else refusal.code
                raise
            print_json(refusal.problem)
            return FAILED
    if as_json:
        print_json(answer)
    else:
        console.print(f"[green]{file} is valid[/]: {len(plan['steps'])} steps")
        for warning in answer.get("warnings") or ():
            console.print(f"[yellow]·[/] {escape(warning)}")
    return PASSED
