"""One line or a few of shell, as `bash -c` or `sh -c`."""

from typing import Literal

from pydantic import Field

from services.executor.commands.base import Command, CommandContext, Outcome, Params


class ShellParams(Params):
    """Run a text with a shell."""

    command: str = Field(pattern=r"\S")
    """The text. Values from elsewhere are safer in `env`: here a reference is pasted in as it is."""
    shell: Literal["bash", "sh"] = "bash"
    """Which shell."""


class Shell(Command[ShellParams]):
    """Runs `shell -c command`; the exit code is the text's."""

    type = "shell"
    params = ShellParams

    async def run(self, params: ShellParams, ctx: CommandContext) -> Outcome:
        return await ctx.run_process([params.shell, "-c", params.command])
