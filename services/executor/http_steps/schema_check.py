"""Whether a body fits a JSON Schema, by a process of its own: a schema of a few lines can take for ever."""

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from services.executor.commands.base import CommandContext, Outcome
from services.executor.commands.capture import Capture
from services.executor.http_steps.answers import Answer
from services.executor.processes.narrowing import narrowed
from shared.plans.plan import StepLimits

PROGRAM = "services.executor.programs.json_schema_check"
MISFIT, NO_SCHEMA = 3, 4
"""How the program ends; 1 is Python's, when something went wrong."""
LIMITS = StepLimits(cpu_seconds=20, memory_mb=2048)


async def misfits(
    schema: Mapping[str, Any], answer: Answer, ctx: CommandContext
) -> list[str] | Outcome:
    """Where the body does not fit, in sentences; an outcome when that could not be found out."""
    if not answer.is_json:
        return ["schema: the body is not JSON"]
    said = Capture(ctx.emit, limit=ctx.limits.output_bytes)
    inner = replace(ctx, emit=said, limits=narrowed(ctx.limits, LIMITS), output_file=None)
    with _file(schema, ctx) as wanted, _file(answer.json, ctx) as body:
        program = [sys.executable, "-P", "-m", PROGRAM, str(wanted), str(body)]
        outcome = await inner.run_process(program)
    if outcome.exit_code == MISFIT:
        return [f"schema: {line}" for line in said.stdout.splitlines()]
    if outcome.exit_code == NO_SCHEMA:
        return replace(outcome, reason="invalid_arguments", error=f"expect.schema: {said.stdout}")
    return [] if outcome.status == "completed" else outcome


@contextmanager
def _file(value: Any, ctx: CommandContext) -> Iterator[Path]:
    """In the run's own folder, for the user that the process runs as."""
    folder = ctx.output_file.parent if ctx.output_file is not None else None
    handle, name = tempfile.mkstemp(prefix="cadenza-schema-", dir=folder)
    path = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogatepass") as file:
            json.dump(value, file)
            if ctx.uid is not None:
                os.fchown(handle, ctx.uid, ctx.uid)
        yield path
    finally:
        path.unlink(missing_ok=True)
