"""`cadenza logs`: what a run's steps wrote, from the start or as it comes."""

from collections.abc import Callable
from typing import Annotated

import typer

from cli.client import Client, Json
from cli.exits import FAILED, PASSED, Usage
from cli.live import print_lines, print_log
from cli.options import ApiKey, AsJson, ExecutionId, Url, gateway
from cli.output import console, json_text, print_json
from shared.plans.mistakes import hint

_NAMED = 20  # steps that a refusal names


def logs(
    execution_id: ExecutionId,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the run has ended.")
    ] = False,
    step: Annotated[str | None, typer.Option(help="Only this step: its name or number.")] = None,
    stream: Annotated[str | None, typer.Option(help="Only stdout or stderr.")] = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> int:
    """Show the output of a run's steps.

    Colours are kept; what else would steer the terminal is written out. `--json` has every character.
    """
    with gateway(url, api_key) as client:
        number = None if step is None else _number_of(client, execution_id, step)
        if follow:
            return _follow(
                client, execution_id, number, stream, tell=_json_line if as_json else _lines
            )
        chunks = client.items(f"/v1/executions/{execution_id}/logs", step=step, stream=stream)
        if as_json:
            print_json({"items": list(chunks)})
            return PASSED
        for chunk in chunks:
            print_lines(console, chunk.get("step_name"), chunk.get("stream"), chunk["text"])
    return PASSED


def _number_of(client: Client, execution_id: str, step: str) -> int:
    """The step of this name or number. Raises Usage, naming the steps that there are."""
    names = [one["step_name"] for one in client.items(f"/v1/executions/{execution_id}/steps")]
    if step.isascii() and step.isdigit():
        if 1 <= int(step) <= len(names):
            return int(step)
    elif step in names:
        return names.index(step) + 1
    near = hint(step, names) or "."
    known = ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
    raise Usage(f"The run has no step '{step}'{near} Its steps: {known}.")


def _follow(
    client: Client,
    execution_id: str,
    step: int | None,
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
        if step in (None, message.data.get("step_id")) and stream in (None, data.get("stream")):
            tell(message.data)
    return PASSED if ended == "completed" else FAILED


def _lines(event: Json) -> None:
    print_log(console, event)


def _json_line(event: Json) -> None:
    """One event per line, as it comes."""
    print(json_text(event), flush=True)
