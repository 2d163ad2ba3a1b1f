"""Every command type, in the order in which the reference shows them."""

from typing import Any

from services.executor.commands.approval import Approval
from services.executor.commands.aws_cli import AwsCli
from services.executor.commands.base import Command
from services.executor.commands.data_quality_profile import DataQualityProfile
from services.executor.commands.element_extraction import ElementExtraction
from services.executor.commands.exec import Exec
from services.executor.commands.http import Http
from services.executor.commands.lanes import Lanes
from services.executor.commands.noop import Noop
from services.executor.commands.plan import SubPlan
from services.executor.commands.playwright import Playwright
from services.executor.commands.script import Script
from services.executor.commands.seven_ps import SevenPsCommand
from services.executor.commands.shell import Shell
from services.executor.commands.virtuoso import VirtuosoCommand
from services.executor.commands.wait_for_event import WaitForEvent
from shared.registry import Registry


def build_registry() -> Registry[Command[Any]]:
    """The command types of this executor, by name."""
    commands: list[Command[Any]] = [Shell(), Exec(), Script(), AwsCli(), Http(), Noop()]
    commands += [Playwright(), ElementExtraction()]
    commands += [Approval(), WaitForEvent(), SubPlan(), Lanes(), DataQualityProfile()]
    commands += [VirtuosoCommand(), SevenPsCommand()]
    return Registry("command type", [(command.type, command) for command in commands])
