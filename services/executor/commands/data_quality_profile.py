"""Profile and weighted score of a table."""

import asyncio
import os
import re
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import Field

from services.executor.commands.base import Command, CommandContext, Outcome, Params, failed
from services.executor.programs.data_quality.request import (
    END,
    FAILED,
    REPORT,
    Format,
    ProfileRequest,
)
from shared.errors import NotFound

ROOT = Path(__file__).parents[3]
"""Where `services` and `shared` are imported from."""
MAX_SAMPLE = 1_000_000
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


class DataQualityProfileParams(Params):
    """Profile a CSV, Parquet or JSON file and score its quality."""

    source: str = Field(min_length=1, max_length=4096)
    """A file; a relative path starts at the working directory. Or the address of an artifact of this tenant, such as
    `storage_path` of `GET /v1/executions/{id}/artifacts` says it."""
    format: Format = "auto"
    """auto: by the ending of the name."""
    sample_rows: int = Field(10_000, ge=1, le=MAX_SAMPLE)
    """Of a larger table so many rows are looked at, the same ones every time."""
    delimiter: str | None = Field(None, min_length=1, max_length=1)
    """Of a CSV file; None: found out."""
    header: bool = True
    """The first line of a CSV file names its columns."""


class DataQualityProfile(Command[DataQualityProfileParams]):
    """Puts out `score` (0 to 1), `dimensions`, `columns`, `issues` and at most ten `recommendations`; the artifact
    `data-quality-report.json` has it all in full. Values of columns that are personal or secret by their names are not
    shown. Ends `failed(source_missing)`, `failed(artifact_missing)`, `failed(source_unreadable)` or
    `failed(source_empty)` when there is nothing to look at.
    """

    type = "data_quality_profile"
    params = DataQualityProfileParams

    async def run(self, params: DataQualityProfileParams, ctx: CommandContext) -> Outcome:
        folder = await asyncio.to_thread(_make_folder, ctx)
        try:
            path = ctx.working_dir / params.source
            if _ADDRESS.match(params.source):
                path = folder / f"source{Path(params.source).suffix}"
                if (missing := await _fetch(params.source, path, ctx)) is not None:
                    return missing
            return await _run(_request(params, ctx, path, folder), folder, ctx)
        finally:
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))


async def _fetch(uri: str, into: Path, ctx: CommandContext) -> Outcome | None:
    """None when it is there now."""
    if ctx.reach.files is None or ctx.tenant is None:
        return failed("not_available", "artifacts cannot be read here; give a file")
    try:
        await ctx.reach.files.fetch(uri, into, tenant=ctx.tenant)
    except NotFound as error:
        return failed("artifact_missing", error.message)
    _hand_over(into, ctx)
    return None


def _request(
    params: DataQualityProfileParams, ctx: CommandContext, path: Path, folder: Path
) -> ProfileRequest:
    return ProfileRequest(
        path=str(path),
        report=str((ctx.artifacts_dir or ctx.working_dir) / REPORT),
        outputs=str(ctx.output_file or folder / "outputs.jsonl"),
        format=params.format,
        sample_rows=params.sample_rows,
        delimiter=params.delimiter,
        header=params.header,
    )


async def _run(request: ProfileRequest, folder: Path, ctx: CommandContext) -> Outcome:
    file = folder / "request.json"
    file.write_text(request.model_dump_json(), "utf-8")
    _hand_over(file, ctx)
    argv = [sys.executable, "-P", "-m", "services.executor.programs.data_quality", str(file)]
    where = {"PYTHONPATH": str(ROOT), "HOME": str(folder), "TMPDIR": str(folder)}
    outcome = await replace(ctx, output_file=Path(request.outputs)).run_process(argv, env=where)
    outputs = dict(outcome.outputs)
    end: Any = outputs.pop(END, None)
    if outcome.exit_code != FAILED or not isinstance(end, dict):
        return replace(outcome, outputs=outputs)
    return replace(outcome, outputs=outputs, reason=end["reason"], error=end["error"])


def _make_folder(ctx: CommandContext) -> Path:
    """Below the run's own folder, where there is one: it goes at the latest with that."""
    parent = ctx.output_file.parent if ctx.output_file is not None else None
    folder = Path(tempfile.mkdtemp(prefix="data-quality-", dir=parent))
    _hand_over(folder, ctx)
    return folder


def _hand_over(path: Path, ctx: CommandContext) -> None:
    if ctx.uid is not None:
        os.chown(path, ctx.uid, ctx.uid)
