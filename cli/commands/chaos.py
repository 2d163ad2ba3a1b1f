"""`cadenza chaos`: break a platform of its own at random, and say whether every promise was kept."""

import json
import random
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from cli.exits import FAILED, PASSED, Usage
from cli.options import AsJson
from cli.output import console, errors, print_json
from cli.sandboxed import running_sandbox
from sandbox.chaos.report import as_json, as_markdown
from sandbox.chaos.session import ChaosSession, Wanted
from sandbox.ports import free_port
from sandbox.settings import SandboxSettings

PARTS = (
    "kafka",
    "mongo",
    "aws",
    "virtuoso",
    "gateway",
    "proxy",
    "executor",
    "extractor",
    "scanner",
)


def chaos(
    runs: Annotated[int, typer.Option(min=0, help="Runs to offer.")] = 5000,
    webhooks: Annotated[int, typer.Option(min=0, help="Virtuoso executions to announce.")] = 5000,
    minutes: Annotated[float, typer.Option(min=0.1, help="How long to offer and to kill.")] = 20,
    seed: Annotated[
        int | None, typer.Option(help="Decides load and schedule; else drawn.", show_default=False)
    ] = None,
    gap: Annotated[
        tuple[float, float], typer.Option(help="Shortest and longest pause between two kills, s.")
    ] = (5, 40),
    patience: Annotated[
        float, typer.Option(min=1, help="Seconds that all may take to come to rest afterwards.")
    ] = 300,
    report: Annotated[
        Path | None, typer.Option(help="Write a page for people.", show_default=False)
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json-file", help="Write the JSON.", show_default=False)
    ] = None,
    as_json_: AsJson = False,
) -> int:
    """Kill services, Kafka and MongoDB at random under load, then look for broken promises.

    It uses a sandbox of its own, on free ports and in a folder that is removed afterwards. The same seed gives the same
    load and the same schedule. Leaves with 0 when every promise was kept, else with 1.
    """
    if not 0 < gap[0] <= gap[1]:
        raise Usage("--gap wants two pauses, the shorter one first.")
    wanted = Wanted(
        runs=runs,
        webhooks=webhooks,
        seconds=minutes * 60,
        seed=random.randrange(1_000_000) if seed is None else seed,
        gaps=gap,
        patience=patience,
    )
    talk = errors if as_json_ else console
    with (
        TemporaryDirectory(prefix="cadenza-chaos-") as folder,
        running_sandbox(_settings(Path(folder)), talk) as sandbox,
    ):
        data = as_json(ChaosSession(sandbox, wanted, say=talk.print).run())
    if report is not None:
        report.write_text(as_markdown(data), "utf-8")
    if json_file is not None:
        json_file.write_text(json.dumps(data, indent=2), "utf-8")
    if as_json_:
        print_json(data)
    else:
        console.print(as_markdown(data), markup=False, soft_wrap=True)
    return PASSED if data["passed"] else FAILED


def _settings(folder: Path) -> SandboxSettings:
    """A sandbox of its own, wherever the user's variables point: what is broken here is never somebody else's."""
    ports = {f"{part}_port": free_port() for part in PARTS}
    own = dict.fromkeys(("kafka", "mongo", "aws", "virtuoso", "objects"))
    return SandboxSettings().model_copy(update={"data": folder, **ports, **own})
