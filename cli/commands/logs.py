"""`cadenza logs`: what a run's steps wrote, from the start or as it comes."""

from collections.abc import Callable
from typing import Annotated

import typer

from cli.client import Client, Json
from cli.exits import FAILED, PASSED
from cli.live import print_lines, print_log
from cli.options import ApiKey, AsJson, ExecutionId, Url, gateway
from cli.output import console, json_text, print_json


def logs(
    execution_id: ExecutionId,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the run has ended.")
    ] = False,
    step: Annotated[str | None, typer.Option(help="Only this step.")] = None,
    stream: Annotated[str | None, typer.Option(help="Only stdout or stderr.")] = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> int:
    """Show the output of a run's steps.

    Colours are kept; what else would steer the terminal is written out. `--json` has every character.
    """
    with gateway(url, api_key) as client:
        if follow:
            return _follow(
                client, execution_id, step, stream, tell=_json_line if as_json else _lines
            )
        chunks = client.items(f"/v1/executions/{execution_id}/logs", step=step, stream=stream)
        if as_json:
            print_json({"items": list(chunks)})
            return PASSED
        for chunk in chunks:
            print_lines(console, chunk.get("step_name"), chunk.get("stream"), chunk["text"])
    return PASSED


def _follow(
    client: Client,
    execution_id: str,
    step: str | None,
    stream: str | None,
    *,
    tell: Callable[[Json], None],
) -> int:
    """The event stream begins with what has been written already."""
    ended = None
    for message in client.events(execution_id):
        data = message.data.get("data") or {}
        if message.event == "run.finished":
            ended = message.data.get("status")
        if message.event != "step.log":
            continue
        if step in (None, message.data.get("step_name")) and stream in (None, data.get("stream")):
            tell(message.data)
    return PASSED if ended == "completed" else FAILED


def _lines(event: Json) -> None:
    print_log(console, event)


def _json_line(event: Json) -> None:
    """One event per line, as it comes."""
    print(json_text(event), flush=True)
