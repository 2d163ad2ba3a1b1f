"""`cadenza demo`: the sandbox, and the platform's main job live in it."""

import shutil
import time
from typing import Annotated

import typer

from cli.exits import PASSED, CliError
from cli.options import AsJson
from cli.output import console, errors, print_json
from cli.sandboxed import must_be_whole, running_sandbox, stay
from cli.story import Story, tell
from sandbox.settings import SandboxSettings
from shared.settings import load


def demo(
    once: Annotated[bool, typer.Option("--once", help="Leave after the checks.")] = False,
    as_json: AsJson = False,
) -> int:
    """Start the sandbox, run the main job in it, and stay up until Ctrl-C.

    With --once, leave with 0 when every part did its work and 1 when one did not.
    """
    began = time.monotonic()
    talk = errors if as_json else console
    with running_sandbox(load(SandboxSettings), talk) as sandbox:
        try:
            with Story(sandbox.addresses, talk) as story:
                results = tell(story)
        except CliError:
            sandbox.ensure_room()
            raise
        must_be_whole(sandbox)
        seconds = time.monotonic() - began
        if as_json:
            print_json({"results": results, "seconds": round(seconds, 1)})
        talk.print(f"[green]Everything worked[/], {seconds:.1f} s after the start.")
        if not once:
            _what_next(sandbox.addresses.services, results["run"]["execution_id"])
            stay(sandbox, talk)
    return PASSED


def _what_next(services: dict[str, str], execution_id: str) -> None:
    cadenza = "cadenza" if shutil.which("cadenza") else ".venv/bin/cadenza"
    gateway, proxy = services["gateway"], services["proxy"]
    console.rule("What to try next", align="left")
    for line in (
        f"{cadenza} run examples/01-dag/plan.yaml --follow --input orders=50",
        f"{cadenza} executions list",
        f"{cadenza} webhook send 001 88715",
        f"{cadenza} scan --service ec2",
        f"curl -H 'X-API-Key: demo-key' {gateway}/v1/executions",
        f"curl -N -H 'X-API-Key: demo-key' {gateway}/v1/executions/{execution_id}/events",
        f"curl -H 'X-API-Key: demo-key' {proxy}/v1/commands",
        *(f"{address}/docs ({name})" for name, address in services.items() if name != "executor"),
    ):
        console.print(f"  {line}", soft_wrap=True)
    console.print("Ctrl-C stops everything; the next start finds its data again.")
