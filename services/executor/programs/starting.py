"""Starts one of our programs as a child process: a request goes in as a file, outputs and an end come back.

The program gets a private folder that serves as its home and for temporary files; it is gone when this returns,
whatever became of the program. The request may hold secrets: only the step's user can read it, and the program removes
it first.
"""

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from services.executor.commands.base import CommandContext
from services.executor.commands.outcome import Outcome

ROOT = Path(__file__).parents[3]
"""Where `services` and `shared` are imported from."""
END = "cadenza_end"
"""Key of the outputs under which a program says why it failed: `{"reason": …, "error": …}`."""


class ProgramFolder:
    """The private folder of one program."""

    def __init__(self, root: Path, uid: int | None) -> None:
        self.root = root
        self._uid = uid

    @property
    def outputs(self) -> Path:
        return self.root / "outputs.jsonl"

    def write(self, name: str, text: str) -> Path:
        """A file that only the program's user can read."""
        path = self.root / name
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
            if self._uid is not None:
                os.fchown(file.fileno(), self._uid, self._uid)
        return path


async def run_program(
    name: str,
    ask: Callable[[ProgramFolder], BaseModel],
    ctx: CommandContext,
    *,
    env: Callable[[ProgramFolder], Mapping[str, str]] = lambda _: {},
) -> Outcome:
    """Run `services.executor.programs.<name>` with the request that `ask` makes to its end."""
    folder = await asyncio.to_thread(_make, name, ctx)
    try:
        file = folder.write("request.json", ask(folder).model_dump_json(exclude_unset=True))
        home = {"HOME": str(folder.root), "TMPDIR": str(folder.root), "PYTHONPATH": str(ROOT)}
        outcome = await replace(ctx, output_file=folder.outputs).run_process(
            [sys.executable, "-P", "-m", f"services.executor.programs.{name}", str(file)],
            env={**home, "CADENZA_OUTPUT": str(folder.outputs), **env(folder)},
        )
        return _with_end(outcome)
    finally:
        await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder.root, ignore_errors=True))


def _make(name: str, ctx: CommandContext) -> ProgramFolder:
    """Below the run's own folder, where there is one: it goes at the latest with that."""
    parent = ctx.output_file.parent if ctx.output_file is not None else None
    root = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=parent))
    if ctx.uid is not None:
        os.chown(root, ctx.uid, ctx.uid)
    return ProgramFolder(root, ctx.uid)


def _with_end(outcome: Outcome) -> Outcome:
    """What the program said of its end, where nobody else ended it."""
    outputs = dict(outcome.outputs)
    end: Any = outputs.pop(END, None)
    if outcome.status != "failed" or not outcome.exit_code or not isinstance(end, dict):
        return replace(outcome, outputs=outputs)
    return replace(
        outcome, outputs=outputs, reason=str(end.get("reason")), error=str(end.get("error"))
    )
