"""`cadenza rerun ID`: run something again, from where it failed."""

from typing import Annotated

import typer

from cli.commands.run import follow_run, show_result
from cli.exits import FAILED, PASSED
from cli.options import ApiKey, AsJson, ExecutionId, Url, gateway, pairs
from cli.output import console, print_json
from cli.plans import value


def rerun(
    execution_id: ExecutionId,
    from_: Annotated[
        str,
        typer.Option("--from", help="'failed', 'start' or the name of a step to begin with."),
    ] = "failed",
    follow_it: Annotated[
        bool, typer.Option("--follow", "-f", help="Show it live and leave with its result.")
    ] = False,
    input_: Annotated[
        list[str] | None, typer.Option("--input", "-i", help="name=value that replaces an input.")
    ] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(help="The same key and options start one rerun only.")
    ] = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> int:
    """Run an ended execution again; steps (or lanes) that went well are taken over with their outputs."""
    inputs = {name: value(text) for name, text in pairs(input_, option="--input").items()}
    headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
    with gateway(url, api_key) as client:
        body = {"from": from_, "inputs": inputs}
        accepted = client.post(f"/v1/executions/{execution_id}/rerun", body, headers=headers)
        if not follow_it:
            if as_json:
                print_json(accepted)
            else:
                console.print(f"accepted [bold]{accepted['execution_id']}[/]")
                lanes = accepted.get("reused_lanes")
                taken = f"{lanes} lanes" if lanes else f"{accepted['reused']} steps"
                console.print(f"{taken} are taken over from {execution_id}")
            return PASSED
        new_id = accepted["execution_id"]
        execution, steps = follow_run(client, new_id, console=None if as_json else console)
    if as_json:
        print_json(execution | {"steps": steps})
    else:
        show_result(execution, steps)
    return PASSED if execution["status"] == "completed" else FAILED
