"""`cadenza variables`: values that runs of the tenant share and anybody of it may read."""

from typing import Annotated

import typer

from cli.exits import PASSED
from cli.options import ApiKey, AsJson, Url, gateway
from cli.output import console, moment, print_json, table

app = typer.Typer(help="Values that runs share (not secret).", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Its name.", show_default=False)]


@app.command("set")
def set_(
    name: Name,
    value: Annotated[str, typer.Argument(help="Its value.", show_default=False)],
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> int:
    """Set or replace a variable: plans use it as ${{ vars.NAME }}."""
    with gateway(url, api_key) as client:
        answer = client.put(f"/v1/variables/{name}", {"value": value})
    if as_json:
        print_json(answer)
    else:
        console.print(f"variable {name} is set (version {answer['version']})")
    return PASSED


@app.command("list")
def list_(url: Url = None, api_key: ApiKey = None, as_json: AsJson = False) -> int:
    """All variables with their values."""
    with gateway(url, api_key) as client:
        found = list(client.items("/v1/variables"))
    if as_json:
        print_json({"items": found})
        return PASSED
    rows = ((v["name"], v["value"], moment(v["updated_at"]), v["updated_by"]) for v in found)
    console.print(table(None, ("variable", "value", "changed", "by"), rows))
    return PASSED


@app.command()
def delete(name: Name, url: Url = None, api_key: ApiKey = None) -> int:
    """Delete a variable; runs that still name it fail at that step."""
    with gateway(url, api_key) as client:
        client.delete(f"/v1/variables/{name}")
    console.print(f"variable {name} is deleted")
    return PASSED
