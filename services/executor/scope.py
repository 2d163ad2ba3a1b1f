"""What the runs of one executor share, what the steps of one run share, and the folders of one try."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from services.executor.commands.base import Command, ProcessRunner
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
    max_output: int
    inline_output: int
    max_artifacts: int = 1024**3
    """Of all files that one try of a step leaves."""


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
        """Make the working directory and the try's folders. Raises OSError."""
        self.working_dir.mkdir(parents=True, exist_ok=True)
        folder.artifacts.mkdir(parents=True)


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
        return self.root / "output.log"
