"""`cadenza schedules`: plans and apps that are run by the clock."""

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.admission import ConcurrencyKey, ConcurrencyLimit, OnConflict, QueueTimeout, admission
from cli.client import Client, Json
from cli.commands.apps import reference
from cli.exits import PASSED, Usage
from cli.options import ApiKey, AsJson, Url, gateway, pairs
from cli.output import console, moment, print_json, short, table
from cli.plans import load_plan, value
from cli.tables import with_table

app = typer.Typer(help="Runs by the clock.", no_args_is_help=True)
PATH = "/v1/schedules"

Name = Annotated[str, typer.Argument(help="Name or id of the schedule.", show_default=False)]
Cron = Annotated[str | None, typer.Option(help="Five fields, or @daily and the like.")]
Zone = Annotated[str | None, typer.Option(help="Such as Europe/Berlin; else UTC.")]
Overlap = Annotated[
    str | None, typer.Option(help="While an earlier run goes on: skip, queue or replace.")
]
CatchUp = Annotated[
    float | None, typer.Option(help="Seconds that a turn may come late after an outage.", min=0)
]
PlanFile = Annotated[Path | None, typer.Option("--plan", help="The plan, YAML or JSON.")]
App = Annotated[
    str | None, typer.Option("--app", help="`app` or `app/sub-app`, instead of a plan.")
]
Inputs = Annotated[list[str] | None, typer.Option("--input", "-i", help="name=value.")]


@app.command("list")
def list_(url: Url = None, api_key: ApiKey = None, as_json: AsJson = False) -> int:
    """All schedules, each with its next five times."""
    with gateway(url, api_key) as client:
        _show(list(client.items(PATH)), as_json=as_json)
    return PASSED


@app.command()
def show(name: Name, url: Url = None, api_key: ApiKey = None, as_json: AsJson = False) -> int:
    """One schedule."""
    with gateway(url, api_key) as client:
        _show([client.get(f"{PATH}/{name}")], as_json=as_json)
    return PASSED


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Its name.", show_default=False)],
    cron: Cron = None,
    timezone: Zone = None,
    overlap: Overlap = None,
    catch_up: CatchUp = None,
    plan: PlanFile = None,
    app_name: App = None,
    input_: Inputs = None,
    queue_timeout: QueueTimeout = None,
    concurrency_key: ConcurrencyKey = None,
    concurrency_limit: ConcurrencyLimit = None,
    on_conflict: OnConflict = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> int:
    """Run a plan or an app by the clock."""
    body = _given(cron, timezone, overlap, catch_up, plan, app_name, input_)
    body |= admission(queue_timeout, concurrency_key, concurrency_limit, on_conflict)
    with gateway(url, api_key) as client:
        _send_table(client, body, plan)
        _show([client.post(PATH, {"name": name} | body)], as_json=as_json)
    return PASSED


@app.command()
def change(
    name: Name,
    cron: Cron = None,
    timezone: Zone = None,
    overlap: Overlap = None,
    catch_up: CatchUp = None,
    plan: PlanFile = None,
    app_name: App = None,
    input_: Inputs = None,
    queue_timeout: QueueTimeout = None,
    concurrency_key: ConcurrencyKey = None,
    concurrency_limit: ConcurrencyLimit = None,
    on_conflict: OnConflict = None,
    enabled: Annotated[
        bool | None, typer.Option("--enable/--disable", help="Take turns, or none.")
    ] = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> int:
    """Change what is named; all else stays."""
    body = _given(cron, timezone, overlap, catch_up, plan, app_name, input_)
    body |= admission(queue_timeout, concurrency_key, concurrency_limit, on_conflict)
    if enabled is not None:
        body["enabled"] = enabled
    if not body:
        raise Usage("say what to change; see cadenza schedules change --help.")
    with gateway(url, api_key) as client:
        _send_table(client, body, plan)
        _show([client.patch(f"{PATH}/{name}", body)], as_json=as_json)
    return PASSED


@app.command()
def remove(name: Name, url: Url = None, api_key: ApiKey = None) -> int:
    """Take no further turn; runs that it has started go on."""
    with gateway(url, api_key) as client:
        client.delete(f"{PATH}/{name}")
    return PASSED


def _send_table(client: Client, body: Json, plan: Path | None) -> None:
    if plan is not None:
        body["plan"] = with_table(body["plan"], plan.parent, client=client)


def _given(
    cron: str | None,
    timezone: str | None,
    overlap: str | None,
    catch_up: float | None,
    plan: Path | None,
    app_name: str | None,
    inputs: list[str] | None,
) -> Json:
    named: dict[str, Any] = {
        "cron": cron,
        "timezone": timezone,
        "overlap": overlap,
        "catch_up_seconds": catch_up,
        "plan": load_plan(plan) if plan else None,
        "app": reference(app_name, None) if app_name else None,
        "inputs": {key: value(text) for key, text in pairs(inputs, option="--input").items()}
        if inputs
        else None,
    }
    return {key: given for key, given in named.items() if given is not None}


def _show(found: list[Json], *, as_json: bool) -> None:
    if as_json:
        print_json({"items": found})
        return
    rows = []
    for one in found:
        schedule, turns = one["schedule"], one.get("turns") or {}
        told = " ".join(filter(None, (turns.get("last_outcome"), moment(turns.get("last_due")))))
        rows.append(
            (
                schedule["name"],
                f"{schedule['cron']} {schedule['timezone']}",
                schedule["overlap"],
                "" if schedule["enabled"] else "disabled",
                "\n".join(moment(at) for at in one["upcoming"]),
                f"{told} {short(turns.get('last_detail'))}".strip(),
            )
        )
    console.print(table(None, ("schedule", "when", "overlap", "", "next", "last turn"), rows))
