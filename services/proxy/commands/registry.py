"""Every command there is, group by group. An alias finds the same entry and is listed nowhere else."""

from typing import Any

from services.proxy.commands import assertion, interact, navigate, wait
from services.proxy.commands.base import Command
from shared.registry import Registry

COMMANDS: tuple[Command[Any], ...] = (
    *navigate.COMMANDS,
    *interact.COMMANDS,
    *assertion.COMMANDS,
    *wait.COMMANDS,
)


def build() -> Registry[Command[Any]]:
    """Commands by name and by alias; a name that is taken twice stops the start."""
    names = ((command.name, command) for command in COMMANDS)
    aliases = ((alias, command) for command in COMMANDS for alias in command.aliases)
    return Registry("command", [*names, *aliases])
