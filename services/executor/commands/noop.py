"""Does nothing, successfully: measures the platform, holds a place in a plan. The smallest command: copy me."""

from typing import Any

from pydantic import Field

from services.executor.commands.base import Command, CommandContext, Outcome, Params, completed


class NoopParams(Params):
    """Do nothing."""

    outputs: dict[str, Any] = Field(default_factory=dict)
    """Values that become the step's outputs."""


class Noop(Command[NoopParams]):
    """Ends at once with the outputs that it was given."""

    type = "noop"
    uses_files = False
    params = NoopParams

    async def run(self, params: NoopParams, ctx: CommandContext) -> Outcome:  # noqa: ARG002 - the contract
        return completed(params.outputs)
