"""What the runs of one executor share, and what the steps of one run share."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from services.executor.commands.base import Command, ProcessRunner, Reach
from services.executor.family import Family
from services.executor.folder_work import FolderWork
from services.executor.folders import RunFolder
from services.executor.pauses import Pauses
from services.executor.processes.model import Limits
from services.executor.processes.users import StepUsers
from services.executor.sealing import Sealing
from services.executor.secrecy import RunSecrecy
from services.executor.sources.bringing import Sources
from services.executor.strays import StrayReports
from shared.clock import Clock
from shared.objects.ports import ObjectStore
from shared.plans.plan import Plan
from shared.registry import Registry
from shared.security.encryption import Cipher
from shared.security.secrets import SecretSource, SettingsSecrets
from shared.work.ports import Wakes


class Processes(ProcessRunner, Protocol):
    """Runs the processes of runs."""

    async def end_run(self, run: str) -> None:
        """End what the run's processes (`CommandContext.run`) have left behind."""
        ...


@dataclass(frozen=True, slots=True)
class RunParts:
    """What all runs of one executor share. Durations are seconds, sizes bytes."""

    commands: Registry[Command[Any]]
    processes: Processes
    secrets: SecretSource
    objects: ObjectStore
    clock: Clock
    room: asyncio.Semaphore
    """Steps that run at the same time, over all runs."""
    inherited: Mapping[str, str]
    """Variables of the service's own environment that commands may see."""
    owner: str | None
    """Mark that every process carries, by which the guardian finds it."""
    default_timeout: float
    expires_after: float
    """A run that was accepted longer ago than this when it is first claimed no longer starts."""
    inline_output: int
    max_artifacts: int = 1024**3
    """Of all files that one try of a step leaves."""
    limits: Limits = field(default_factory=Limits)
    """Of each process of a step."""
    users: StepUsers = field(default_factory=StepUsers)
    reach: Reach = field(default_factory=Reach)
    variables: SecretSource = field(default_factory=lambda: SettingsSecrets({}))
    """Variables by tenant and name."""
    cipher: Cipher | None = None
    """For encrypted fields; None: steps that have some fail."""
    sources: Sources | None = None
    """Brings the files of plans; None: plans with sources fail."""
    family: Family | None = None
    """None: runs have no children here."""
    wakes: Wakes | None = None
    """None: steps look again when their time has come, and hear nothing."""
    folder_work: FolderWork = field(default_factory=FolderWork)
    rest_after: float = 10.0
    """A run of which nothing runs gives its slot back when its next look is further away."""


@dataclass(frozen=True, slots=True)
class RunScope:
    """What the steps of one run share."""

    execution_id: str
    tenant: str
    plan: Plan
    inputs: Mapping[str, Any]
    folder: RunFolder
    stop: asyncio.Event
    """Set when the run is to end: no further try begins and what runs is ended."""
    outputs: dict[str, Mapping[str, Any]]
    """Outputs of steps that have ended, by name."""
    secrecy: RunSecrecy
    sealing: Sealing
    sources: list[Mapping[str, Any]] = field(default_factory=list)
    """What the plan's sources are resolved to: by an earlier owner, by the run that this one belongs to or repeats, or
    by this one."""
    claimed: Mapping[str, Any] = field(default_factory=dict)
    """The execution's document when it was claimed."""
    asked: Plan | None = None
    """The plan as it was asked for, when it has rows: `plan` is what stands for all of them then."""
    pauses: Pauses = field(default_factory=Pauses)
    strays: StrayReports = field(default_factory=StrayReports)
    cut: str = "cancelled"
    """The reason of a step that was ended by `stop`."""

    @property
    def parent(self) -> Mapping[str, Any]:
        """As its children see it: they go on with the same files."""
        return {**self.claimed, "sources": self.sources} if self.sources else self.claimed

    @property
    def processes(self) -> str:
        """The name of what its commands start, under this owner."""
        return self.folder.root.name
