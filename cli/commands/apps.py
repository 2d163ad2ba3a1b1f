"""`cadenza apps`: what is kept under a name and a version, and started by it."""

from pathlib import Path
from typing import Annotated, Any

import typer

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
from cli.client import Json
from cli.commands.run import hand_in
from cli.exits import PASSED, Usage
from cli.moments import point_in_time
from cli.options import ApiKey, AsJson, Url, gateway, pairs
from cli.output import console, duration, moment, print_json, table
from cli.plans import load_mapping, value

app = typer.Typer(help="Apps: plans kept under a name and a version.", no_args_is_help=True)

_COUNTS = ("total", "completed", "failed", "timed_out", "cancelled", "unfinished")
Name = Annotated[str, typer.Argument(help="`app` or `app/sub-app`.", show_default=False)]
Version = Annotated[str | None, typer.Option("--version", "-v", help="Else the active one.")]


@app.command("list")
def list_(url: Url = None, api_key: ApiKey = None, as_json: AsJson = False) -> int:
    """The active version of every app."""
    with gateway(url, api_key) as client:
        _show(list(client.items("/v1/apps")), as_json=as_json)
    return PASSED


@app.command()
def show(
    name: Name,
    version: Version = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> int:
    """What an app's steps take and put out."""
    path = f"/v1/apps/{name}" + (f"/versions/{version}" if version else "")
    with gateway(url, api_key) as client:
        found = client.get(path)
    if as_json:
        print_json(found)
        return PASSED
    _show([found], as_json=False)
    rows = (
        (
            step["id"],
            step["name"],
            _parameters(step.get("input")),
            _parameters(step.get("output")),
            ", ".join(map(str, step.get("depends_on") or ())),
        )
        for step in found["configuration"]["steps"]
    )
    console.print(table(None, ("#", "step", "takes", "puts out", "after"), rows))
    return PASSED


@app.command()
def versions(name: Name, url: Url = None, api_key: ApiKey = None, as_json: AsJson = False) -> int:
    """The history of an app, newest first."""
    with gateway(url, api_key) as client:
        _show(list(client.items(f"/v1/apps/{name}/versions")), as_json=as_json)
    return PASSED


@app.command()
def configure(
    name: Name,
    file: Annotated[Path, typer.Argument(help="The version, YAML or JSON.", show_default=False)],
    activate: Annotated[
        bool | None,
        typer.Option("--activate/--no-activate", help="Start runs from it from now on."),
    ] = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> int:
    """Store a version: `version`, `configuration` with its steps."""
    body = load_mapping(file) | ({} if activate is None else {"activate": activate})
    with gateway(url, api_key) as client:
        _show([client.post(f"/v1/apps/{name}/versions", body)], as_json=as_json)
    return PASSED


@app.command()
def activate(
    name: Name,
    version: Annotated[str, typer.Argument(help="The version.", show_default=False)],
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> int:
    """Start runs that name no version from this one from now on."""
    with gateway(url, api_key) as client:
        _show([client.post(f"/v1/apps/{name}/versions/{version}/activate")], as_json=as_json)
    return PASSED


@app.command()
def seed(url: Url = None, api_key: ApiKey = None, as_json: AsJson = False) -> int:
    """Store the apps that come with the platform; what is there stays as it is."""
    with gateway(url, api_key) as client:
        _show(client.post("/v1/apps/seed")["items"], as_json=as_json)
    return PASSED


@app.command()
def run(
    name: Name,
    input_: Annotated[list[str] | None, typer.Option("--input", "-i", help="name=value.")] = None,
    label: Annotated[list[str] | None, typer.Option("--label", "-l", help="name=value.")] = None,
    version: Version = None,
    follow_it: Annotated[
        bool, typer.Option("--follow", "-f", help="Show it live and leave with its result.")
    ] = False,
    priority: Priority = 0,
    idempotency_key: IdempotencyKey = None,
    queue_timeout: QueueTimeout = None,
    concurrency_key: ConcurrencyKey = None,
    concurrency_limit: ConcurrencyLimit = None,
    on_conflict: OnConflict = None,
    metadata: Metadata = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> int:
    """Start a run of an app."""
    body = {
        "app": reference(name, version),
        "inputs": {key: value(text) for key, text in pairs(input_, option="--input").items()},
        "labels": pairs(label, option="--label"),
        "metadata": pairs(metadata, option="--metadata"),
        "priority": priority,
        **admission(queue_timeout, concurrency_key, concurrency_limit, on_conflict),
    }
    headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
    with gateway(url, api_key) as client:
        return hand_in(client, body, headers=headers, follow_it=follow_it, as_json=as_json)


@app.command()
def stats(
    name: Annotated[str | None, typer.Argument(help="`app` or `app/sub-app`; else all.")] = None,
    since: Annotated[str | None, typer.Option(help="30m, 2h, 7d or a date; else 30d.")] = None,
    until: Annotated[str | None, typer.Option(help="The same; else now.")] = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> int:
    """How runs of apps came out: success is of all runs, passed of those that completed, failed or timed out."""
    asked = {
        "app": name,
        "created_after": since and point_in_time(since, option="--since").isoformat(),
        "created_before": until and point_in_time(until, option="--until").isoformat(),
    }
    with gateway(url, api_key) as client:
        found = client.get("/v1/apps/statistics", **asked)
    if as_json:
        print_json(found)
        return PASSED
    rows = (
        (
            "/".join(filter(None, (one["app_name"], one.get("sub_app_name")))),
            *(str(one[count]) for count in _COUNTS),
            f"{one['success_rate']:.1%}",
            "" if one.get("pass_rate") is None else f"{one['pass_rate']:.1%}",
            duration(one.get("avg_duration_ms")),
        )
        for one in found["items"]
    )
    title = f"{moment(found['created_after'])} to {moment(found['created_before'])}"
    columns = ("app", *(count.replace("_", " ") for count in _COUNTS), "success", "passed", "mean")
    console.print(table(title, columns, rows))
    return PASSED


def reference(name: str, version: str | None) -> Json:
    """How a request names an app."""
    app_name, _, sub_app = name.partition("/")
    if not app_name or "/" in sub_app:
        raise Usage(f"an app is written app or app/sub-app, not '{name}'.")
    given = {"name": app_name, "sub_app": sub_app, "version": version}
    return {key: text for key, text in given.items() if text}


def _show(found: list[Json], *, as_json: bool) -> None:
    if as_json:
        print_json({"items": found})
        return
    rows = (
        (
            "/".join(filter(None, (one["app_name"], one.get("sub_app_name")))),
            "/".join(str(n) for n in (one["app_id"], one.get("sub_app_id")) if n is not None),
            one["version"],
            "active" if one["active"] else "",
            moment(one["created_at"]),
            one["created_by"],
        )
        for one in found
    )
    console.print(table(None, ("app", "number", "version", "", "created", "by"), rows))


def _parameters(found: Any) -> str:
    return ", ".join(one["name"] + ("*" if one.get("required") else "") for one in found or ())
