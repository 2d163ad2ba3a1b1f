"""One program with its arguments, without a shell in between."""

from pydantic import Field

from services.executor.commands.base import Command, CommandContext, Outcome, Params


class ExecParams(Params):
    """Run a program."""

    program: str = Field(pattern=r"\S")
    """A name to be found on PATH, or a path (relative ones start at the working directory)."""
    args: list[str] = Field(default_factory=list, max_length=10_000)
    """Arguments, handed over exactly as they are."""


class Exec(Command[ExecParams]):
    """Runs the program; ends `failed(program_missing)` when there is none of that name."""

    type = "exec"
    params = ExecParams

    async def run(self, params: ExecParams, ctx: CommandContext) -> Outcome:
        return await ctx.run_process([params.program, *params.args])
