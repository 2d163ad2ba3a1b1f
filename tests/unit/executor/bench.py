"""One executor in this process, with everything real but the journal."""

import asyncio
import os

from pydantic import SecretStr

from services.executor.commands.registry import build_registry
from services.executor.processes.model import Limits
from services.executor.processes.runner import LocalProcessRunner
from services.executor.scope import RunParts
from services.executor.service import Executor
from services.executor.workspace import Workspace
from shared.clock import SystemClock
from shared.objects.local import LocalStore
from shared.security.secrets import SettingsSecrets
from shared.work.ports import Claim, first_sequence
from tests.builders.runs import a_plan, a_step
from tests.fakes.journal import FakeJournal


def shell(command: str, name: str = "one", **more):
    return a_step(name, command={"type": "shell", "command": command}, **more)


class Bench:
    """One executor with everything real but the journal."""

    def __init__(self, tmp_path, **parts):
        tmp_path.mkdir(parents=True, exist_ok=True)
        if "users" in parts:
            tmp_path.chmod(0o711)
        self.workspace = Workspace(tmp_path / "work", host="test", shared="users" in parts)
        self.objects = LocalStore(tmp_path / "objects")
        self.journal = FakeJournal()
        self.tmp_path = tmp_path
        self.parts = RunParts(
            commands=build_registry(),
            processes=LocalProcessRunner(grace_seconds=0.3, sample_seconds=0.1),
            objects=self.objects,
            clock=SystemClock(),
            room=asyncio.Semaphore(20),
            inherited={"PATH": os.environ["PATH"]},
            owner=None,
            default_timeout=30,
            expires_after=7 * 24 * 3600,
            **{
                "limits": Limits(output_bytes=1024 * 1024),
                "secrets": SettingsSecrets({"acme": {"token": SecretStr("s3cr3t-value")}}),
                "inline_output": 1024,
            }
            | parts,
        )
        self.executor = Executor(journals=self.journal, folders=self.workspace, parts=self.parts)

    def claim(self, plan, **document) -> Claim:
        now = SystemClock().now()
        return Claim(
            id="0197-run",
            tenant="acme",
            epoch=self.journal.epoch,
            token="t",
            sequence=first_sequence(1) + 1,
            document={
                "plan": plan,
                "inputs": {},
                "accepted_at": now,
                "started_at": now,
                **document,
            },
        )

    async def run(self, *steps, inputs=None, **plan):
        await self.workspace.start()
        await self.executor.run(self.claim(a_plan(*steps, **plan), inputs=inputs or {}))
        return self.journal
