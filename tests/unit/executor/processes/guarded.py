"""A real guardian over a small worker that does what a test says."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from tests.unit.executor.processes.contexts import until

ROOT = Path(__file__).parents[4]
DAEMON = "exec setsid env -i /bin/bash -c 'echo $$ > {folder}/daemon; trap \"\" TERM; sleep 60'"

WORKER = """
import os, signal, subprocess, sys, time
from pathlib import Path
from services.executor.processes.guardian_link import GuardianLink

folder = Path(sys.argv[1])
link = GuardianLink.from_arguments(sys.argv)
env = {"CADENZA_OWNER": link.owner, "PATH": os.environ["PATH"]}
subprocess.Popen(["bash", "-c", "(" + DAEMON + ") & sleep 0.2"], start_new_session=True, env=env)
subprocess.Popen(["sleep", "61"], start_new_session=True, env=env)
(folder / "owner").write_text(link.owner)
(folder / "worker").write_text(str(os.getpid()))
"""


PLAIN = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if os.geteuid() == 0 else []
"""Starts a program without root's capabilities."""


class Guarded:
    """A guardian in a process of its own, with a worker that runs `body` after starting a daemon.

    `prefix` is a command that starts it.
    """

    def __init__(self, folder: Path, body: str, *, prefix: Sequence[str] = ()) -> None:
        self.folder = folder
        self.elsewhere = "unshare" in prefix
        """Its process ids may be of another process space."""
        worker = folder / "worker.py"
        daemon = DAEMON.format(folder=folder)
        worker.write_text(f"DAEMON = {daemon!r}\n{WORKER}{textwrap.dedent(body)}")
        code = (
            "import sys; from services.executor.processes.guardian import run;"
            "sys.exit(run([sys.executable, *sys.argv[1:]]))"
        )
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-c", code, str(worker), str(folder)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
        )

    def read(self, name: str) -> str:
        path = self.folder / name
        return path.read_text().strip() if path.exists() else ""

    async def up(self) -> tuple[int, int]:
        """Pids of worker and daemon, once the daemon is nobody's child but the guardian's."""
        await until(lambda: self.read("worker") and self.read("daemon"), 10)
        return int(self.read("worker")), int(self.read("daemon"))

    async def ended(self, seconds: float = 5) -> int:
        await until(lambda: self.process.poll() is not None, seconds)
        return self.process.returncode
