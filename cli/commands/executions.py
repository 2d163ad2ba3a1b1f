"""`cadenza executions`: find runs, look at one."""

from typing import Annotated

import typer
from rich.text import Text

from cli.cases import cases_table, totals_line
from cli.exits import PASSED
from cli.options import ApiKey, AsJson, ExecutionId, Url, gateway
from cli.output import console, duration, moment, print_json, size, status, steps_table, table

app = typer.Typer(help="Find runs and look at one.", no_args_is_help=True)


@app.command("list")
def list_(
    wanted: Annotated[
        list[str] | None, typer.Option("--status", "-s", help="Only runs in this status.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", "-l", help="Only runs with name=value.")
    ] = None,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1)] = 20,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> int:
    """Runs, newest first."""
    with gateway(url, api_key) as client:
        found = list(client.items("/v1/executions", limit=limit, status=wanted, label=label))
    if as_json:
        print_json({"items": found})
        return PASSED
    rows = (
        (
            run["execution_id"],
            run.get("name") or "",
            status(run["status"]),
            moment(run.get("created_at")),
            duration(run.get("duration_ms")),
            " ".join(f"{name}={text}" for name, text in (run.get("labels") or {}).items()),
        )
        for run in found
    )
    console.print(
        table(None, ("execution", "name", "status", "created", "duration", "labels"), rows)
    )
    return PASSED


@app.command()
def keep(
    execution_id: ExecutionId,
    release: Annotated[bool, typer.Option("--release", help="Keep it no longer.")] = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> int:
    """Keep a run for ever, its metrics included."""
    path = f"/v1/executions/{execution_id}/keep"
    with gateway(url, api_key) as client:
        if release:
            client.delete(path)
        else:
            client.put(path)
    return PASSED


@app.command()
def show(
    execution_id: ExecutionId, url: Url = None, api_key: ApiKey = None, as_json: AsJson = False
) -> int:
    """One run with its steps and artifacts."""
    path = f"/v1/executions/{execution_id}"
    with gateway(url, api_key) as client:
        execution = client.get(path)
        steps = list(client.items(f"{path}/steps"))
        artifacts = list(client.items(f"{path}/artifacts"))
    if as_json:
        print_json(execution | {"steps": steps, "artifacts": artifacts})
        return PASSED
    console.print(Text(execution.get("name") or execution_id, "bold"), "", execution_id)
    console.print(
        status(execution["status"]),
        duration(execution.get("duration_ms")),
        Text(execution.get("reason") or ""),
        moment(execution.get("created_at")),
    )
    console.print(steps_table(steps))
    if (line := totals_line(execution.get("results"))) is not None:
        console.print(line)
    if artifacts:
        rows = (
            (a["artifact_name"], a["artifact_type"], size(a["size_bytes"]), a["storage_path"])
            for a in artifacts
        )
        console.print(table("artifacts", ("name", "type", "size", "address"), rows))
    return PASSED


@app.command("tests")
def cases(
    execution_id: ExecutionId,
    wanted: Annotated[
        str | None, typer.Option("--status", "-s", help="passed, failed, error or skipped.")
    ] = None,
    flaky: Annotated[
        bool | None, typer.Option("--flaky/--no-flaky", help="Only flaky ones, or none of them.")
    ] = None,
    step: Annotated[str | None, typer.Option(help="Only of this step (name or number).")] = None,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1)] = 1000,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> int:
    """The test cases that the steps of a run reported."""
    path = f"/v1/executions/{execution_id}/tests"
    asked = {"status": wanted, "step": step, "flaky": None if flaky is None else str(flaky).lower()}
    with gateway(url, api_key) as client:
        found = list(client.items(path, limit=limit, **asked))
    if as_json:
        print_json({"items": found})
        return PASSED
    console.print(cases_table(found))
    return PASSED
