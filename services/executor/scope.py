"""What the runs of one executor share, what the steps of one run share, and the folders of one try."""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from services.executor.commands.base import Command, ProcessRunner
from services.executor.processes.model import Limits
from services.executor.processes.users import StepUsers
from shared.clock import Clock
from shared.objects.ports import ObjectStore
from shared.plans.plan import Plan
from shared.registry import Registry
from shared.security.secrets import SecretSource


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
    inline_output: int
    max_artifacts: int = 1024**3
    """Of all files that one try of a step leaves."""
    limits: Limits = field(default_factory=Limits)
    """Of each process of a step."""
    users: StepUsers = field(default_factory=StepUsers)


@dataclass(frozen=True, slots=True)
class RunScope:
    """What the steps of one run share."""

    execution_id: str
    tenant: str
    plan: Plan
    inputs: Mapping[str, Any]
    folder: Path
    """The run's own folder; the commands' working directory lies in it."""
    stop: asyncio.Event
    """Set when the run is to end: no further try begins and what runs is ended."""
    outputs: dict[str, Mapping[str, Any]]
    """Outputs of completed steps, by name."""
    uid: int | None = None
    """User that its processes run as; None: the executor's own."""

    @property
    def working_dir(self) -> Path:
        return self.folder / "work"

    @property
    def processes(self) -> str:
        """The name of what its commands start, under this owner."""
        return self.folder.name

    def folder_of(self, step_id: int, attempt: str) -> "TryFolder":
        """Where one try leaves what is not in the working directory."""
        return TryFolder(self.folder / f"{step_id}-{attempt}")

    def make(self, folder: "TryFolder") -> None:
        """Make the working directory and the try's folders. Raises OSError.

        Another user than ours may enter the run's folder, but change nothing in it: what lies there is ours to read.
        """
        self.working_dir.mkdir(parents=True, exist_ok=True)
        folder.artifacts.mkdir(parents=True)
        if self.uid is not None:
            os.chown(self.folder, -1, self.uid)
            self.folder.chmod(0o710)
            for theirs in (self.working_dir, folder.root, folder.artifacts):
                os.chown(theirs, self.uid, self.uid, follow_symlinks=False)


@dataclass(frozen=True, slots=True)
class TryFolder:
    """Files of one try of one step."""

    root: Path

    @property
    def artifacts(self) -> Path:
        return self.root / "artifacts"

    @property
    def outputs(self) -> Path:
        return self.root / "outputs.jsonl"

    @property
    def log(self) -> Path:
        return self.root.with_name(f"{self.root.name}.log")

    @property
    def taken(self) -> Path:
        """Where files of another user are taken to before they are read."""
        return self.root.with_name(f"{self.root.name}.taken")
