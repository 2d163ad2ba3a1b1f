"""Builds command contexts over real processes and keeps what they print."""

import asyncio
import os
import time
from pathlib import Path

from services.executor.commands.base import CommandContext
from services.executor.processes.environment import build_environment
from services.executor.processes.runner import LocalProcessRunner


class Printed:
    """A log sink that remembers."""

    def __init__(self):
        self.pieces = []

    async def __call__(self, stream, text):
        self.pieces.append((stream, text))

    def of(self, stream):
        return "".join(text for name, text in self.pieces if name == stream)

    @property
    def stdout(self):
        return self.of("stdout")

    @property
    def stderr(self):
        return self.of("stderr")


def a_context(folder: Path, *, timeout=None, grace=0.3, env=None, sample=0.2, drain=0.3, **fields):
    printed = fields.pop("emit", None) or Printed()
    output = folder / ".output.jsonl"
    ctx = CommandContext(
        working_dir=folder,
        env=build_environment(os.environ, working_dir=folder, declared=env, output_file=output),
        emit=printed,
        processes=fields.pop("processes", None)
        or LocalProcessRunner(grace_seconds=grace, sample_seconds=sample, drain_seconds=drain),
        deadline=None if timeout is None else time.monotonic() + timeout,
        output_file=output,
        **fields,
    )
    return ctx, printed


async def bash(text, folder, **fields):
    ctx, printed = a_context(folder, **fields)
    return await ctx.run_process(["bash", "-c", text]), printed


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] not in "ZX"


async def until(condition, seconds=5.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.02)
