"""`cadenza workers`: who takes runs; have one pause, resume or drain."""

from typing import Annotated

import typer
from rich.text import Text

from cli.client import Client
from cli.exits import PASSED, Usage
from cli.options import ApiKey, AsJson, Url, gateway
from cli.output import console, moment, print_json, table
from cli.waiting import until

app = typer.Typer(help="Who takes runs; have one pause, resume or drain.", no_args_is_help=True)

Worker = Annotated[
    str, typer.Argument(help="Its id, the end of it, or its host if only one is there.")
]
Wait = Annotated[bool, typer.Option(help="Wait until it has obeyed; drain: until it is empty.")]
Timeout = Annotated[float, typer.Option(help="Seconds to wait.")]


@app.command("list")
def list_(url: Url = None, api_key: ApiKey = None, as_json: AsJson = False) -> int:
    """All workers, with what they hold."""
    with gateway(url, api_key) as client:
        found = list(client.items("/v1/workers"))
    if as_json:
        print_json({"items": found})
        return PASSED
    rows = (
        (
            one["worker_id"],
            one["host"],
            Text(one["state"]),
            f"{one['used']}/{one['slots']}",
            " ".join(one["labels"]),
            one["version"],
            moment(one["started_at"]),
        )
        for one in found
    )
    columns = ("worker", "host", "state", "runs", "labels", "version", "started")
    console.print(table(None, columns, rows))
    return PASSED


@app.command()
def pause(
    worker: Worker,
    wait: Wait = True,
    timeout: Timeout = 30,
    url: Url = None,
    api_key: ApiKey = None,
) -> int:
    """It takes nothing new; what it runs goes on."""
    with gateway(url, api_key) as client:
        return _tell(
            client, worker, "pause", until_it_is="paused", seconds=timeout if wait else None
        )


@app.command()
def resume(
    worker: Worker,
    wait: Wait = True,
    timeout: Timeout = 30,
    url: Url = None,
    api_key: ApiKey = None,
) -> int:
    """It takes runs again."""
    with gateway(url, api_key) as client:
        return _tell(
            client, worker, "resume", until_it_is="active", seconds=timeout if wait else None
        )


@app.command()
def drain(
    worker: Worker,
    wait: Wait = True,
    timeout: Timeout = 3600,
    url: Url = None,
    api_key: ApiKey = None,
) -> int:
    """It takes nothing new; when it says `drained` nothing runs on it and it may be stopped."""
    with gateway(url, api_key) as client:
        return _tell(
            client, worker, "drain", until_it_is="drained", seconds=timeout if wait else None
        )


def _tell(
    client: Client, worker: str, action: str, *, until_it_is: str, seconds: float | None
) -> int:
    """Without `seconds` nobody waits."""
    path = f"/v1/workers/{_id_of(client, worker)}"
    state = client.post(f"{path}/{action}")["state"]
    if seconds is not None:
        answer = until(
            lambda: client.get(path),
            lambda one: bool(one["state"] == until_it_is),
            seconds=seconds,
            what=f"`{action}` of {worker}",
        )
        state = answer["state"]
    console.print(f"{path.rpartition('/')[2]} is {state}")
    return PASSED


def _id_of(client: Client, wanted: str) -> str:
    """The one worker that is meant."""
    found = list(client.items("/v1/workers"))
    ids = [one["worker_id"] for one in found if one["worker_id"].endswith(wanted)]
    ids = ids or [
        one["worker_id"] for one in found if one["host"] == wanted and one["state"] != "lost"
    ]
    if len(ids) == 1:
        return str(ids[0])
    many = (
        f"{len(ids)} workers are meant by '{wanted}'" if ids else f"there is no worker '{wanted}'"
    )
    raise Usage(f"{many}; see `cadenza workers list`.")
