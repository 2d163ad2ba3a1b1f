"""A script: a file in the working directory, or its text in the plan."""

import os
import tempfile
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from services.executor.commands.base import Command, CommandContext, Outcome, Params, failed

PROGRAMS = {"bash": "bash", "sh": "sh", "python": "python3"}
DEFAULT = "bash"


class ScriptParams(Params):
    """Run a script."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["path"]}, {"required": ["source"]}]}
    )

    path: str = Field("", min_length=1, max_length=4096)
    """A file; a relative path starts at the working directory."""
    source: str = Field("", min_length=1)
    """The script's text, instead of `path`."""
    interpreter: Literal["bash", "sh", "python"] | None = None
    """None: what the script's first line (`#!`) says, else bash."""
    args: list[str] = Field(default_factory=list, max_length=10_000)
    """Arguments of the script."""

    @model_validator(mode="before")
    @classmethod
    def _one_of(cls, data: Any) -> Any:
        if isinstance(data, dict) and ("path" in data) == ("source" in data):
            raise ValueError("give exactly one of: path, source")
        return data


class Script(Command[ScriptParams]):
    """Runs the script with its interpreter; ends `failed(script_missing)` when there is no such file."""

    type = "script"
    params = ScriptParams

    async def run(self, params: ScriptParams, ctx: CommandContext) -> Outcome:
        if params.source:
            return await self._run_source(params, ctx)
        path = ctx.working_dir / params.path
        if not path.is_file():
            return failed("script_missing", f"there is no script '{params.path}'")
        return await ctx.run_process(command_line(path, params.interpreter, params.args))

    async def _run_source(self, params: ScriptParams, ctx: CommandContext) -> Outcome:
        """The text goes into a file of its own, in the run's own folder: it goes at the latest with that."""
        folder = ctx.output_file.parent if ctx.output_file is not None else None
        handle, name = tempfile.mkstemp(prefix="cadenza-script-", dir=folder)
        path = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", errors="surrogatepass") as file:
                file.write(params.source)
                if ctx.uid is not None:
                    os.fchown(handle, ctx.uid, ctx.uid)
            return await ctx.run_process(command_line(path, params.interpreter, params.args))
        finally:
            path.unlink(missing_ok=True)  # noqa: ASYNC240 - one system call


def command_line(path: Path, interpreter: str | None, args: list[str]) -> list[str]:
    """How to start the script. The first line is read here, so that the file need not be executable."""
    start = [PROGRAMS[interpreter]] if interpreter else shebang(path) or [DEFAULT]
    return [*start, str(path), *args]


def shebang(path: Path) -> list[str]:
    """Program and its one argument from the script's first line; empty when there is no such line."""
    with path.open("rb") as file:
        first = file.readline(512)
    if not first.startswith(b"#!"):
        return []
    return first[2:].decode("utf-8", "replace").strip().split(maxsplit=1)
