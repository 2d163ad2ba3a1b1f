"""`cadenza run FILE`: submit a plan; follow it; leave with its result."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from cli.admission import (
    ConcurrencyKey,
    ConcurrencyLimit,
    IdempotencyKey,
    Metadata,
    OnConflict,
    Priority,
    QueueTimeout,
    admission,
)
from cli.cases import SHOWN, cases_table, failed_cases, totals_line
from cli.client import Client, Json
from cli.exits import FAILED, PASSED
from cli.junit import write_junit
from cli.live import RunView, follow
from cli.options import ApiKey, AsJson, Url, gateway, pairs
from cli.output import console, duration, errors, print_json, status, steps_table
from cli.plans import load_plan, value
from cli.tables import with_table


def run(
    file: Annotated[Path, typer.Argument(help="The plan, YAML or JSON.", show_default=False)],
    follow_it: Annotated[
        bool, typer.Option("--follow", "-f", help="Show it live and leave with its result.")
    ] = False,
    input_: Annotated[
        list[str] | None, typer.Option("--input", "-i", help="name=value of `${{ inputs.name }}`.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", "-l", help="name=value to find the run by.")
    ] = None,
    priority: Priority = 0,
    idempotency_key: IdempotencyKey = None,
    queue_timeout: QueueTimeout = None,
    concurrency_key: ConcurrencyKey = None,
    concurrency_limit: ConcurrencyLimit = None,
    on_conflict: OnConflict = None,
    metadata: Metadata = None,
    data: Annotated[
        Path | None, typer.Option(help="CSV or JSON table: the plan runs once for each row.")
    ] = None,
    junit: Annotated[
        Path | None, typer.Option(help="Follow it and write the result as JUnit XML.")
    ] = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> int:
    """Submit a plan and, with --follow, leave with 0 when it passed and 1 when it did not."""
    plan = load_plan(file)
    body: Json = {
        "inputs": {name: value(text) for name, text in pairs(input_, option="--input").items()},
        "labels": pairs(label, option="--label"),
        "metadata": pairs(metadata, option="--metadata"),
        "priority": priority,
        **admission(queue_timeout, concurrency_key, concurrency_limit, on_conflict),
    }
    headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
    with gateway(url, api_key) as client:
        body["plan"] = with_table(plan, file.parent, client=client, data=data)
        return hand_in(
            client, body, headers=headers, follow_it=follow_it, junit=junit, as_json=as_json
        )


def hand_in(
    client: Client,
    body: Json,
    *,
    headers: Mapping[str, str] | None = None,
    follow_it: bool,
    junit: Path | None = None,
    as_json: bool,
) -> int:
    """Submit it; follow it to its end when that is wanted. Returns the exit code."""
    accepted = client.post("/v1/executions", body, headers=headers)
    if not follow_it and junit is None:
        _tell_accepted(client, accepted, as_json=as_json)
        return PASSED
    return _follow(client, accepted["execution_id"], junit=junit, as_json=as_json)


def follow_run(
    client: Client, execution_id: str, *, console: Console | None
) -> tuple[Json, list[Json]]:
    """Show a run until it ends; the execution and its steps as the API has them then."""
    path = f"/v1/executions/{execution_id}"
    if console is None:
        for _ in client.events(execution_id):
            pass
    else:
        view = RunView(client.patiently(lambda: list(client.items(f"{path}/steps"))))
        follow(console, client.events(execution_id), view)
    return client.patiently(lambda: (client.get(path), list(client.items(f"{path}/steps"))))


def _follow(client: Client, execution_id: str, *, junit: Path | None, as_json: bool) -> int:
    if not as_json:
        console.print(f"execution [bold]{execution_id}[/]")
    execution, steps = follow_run(client, execution_id, console=None if as_json else console)
    if junit is not None:
        path = f"/v1/executions/{execution_id}/logs"
        chunks = client.patiently(lambda: list(client.items(path)))
        cases: list[Json] = []
        if execution.get("results"):
            path = f"/v1/executions/{execution_id}/tests"
            cases = client.patiently(lambda: list(client.items(path)))
        write_junit(junit, execution, steps, chunks, cases)
    if as_json:
        print_json(execution | {"steps": steps})
    else:
        show_result(execution, steps)
        show_cases(client, execution)
    return PASSED if execution["status"] == "completed" else FAILED


def show_result(execution: dict[str, Any], steps: list[dict[str, Any]]) -> None:
    """The step table and how the run ended."""
    console.print(steps_table(steps))
    console.print(status(execution["status"]), duration(execution.get("duration_ms")), end="\n")
    if execution.get("reason") or execution.get("error"):
        errors.print(
            f"{execution.get('reason') or ''} {execution.get('error') or ''}".strip(), markup=False
        )


def show_cases(client: Client, execution: Json) -> None:
    """The totals of the test cases, and the first that failed."""
    results = execution.get("results") or {}
    line = totals_line(results)
    if line is None:
        return
    console.print(line)
    if results["failed"]:
        id_ = execution["execution_id"]
        console.print(cases_table(client.patiently(lambda: failed_cases(client, id_))))
        if results["failed"] > SHOWN:
            console.print(f"all of them: cadenza executions tests {id_} --status failed")


def _tell_accepted(client: Client, accepted: Json, *, as_json: bool) -> None:
    if as_json:
        print_json(accepted)
        return
    console.print(f"accepted [bold]{accepted['execution_id']}[/]")
    console.print(f"follow it with: cadenza logs -f {accepted['execution_id']}")
    console.print(f"or look at {client.url}/v1/executions/{accepted['execution_id']}")
