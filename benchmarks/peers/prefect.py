"""Prefect 3: server on SQLite, deployments served by a process that starts a process for each flow run."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.peers.peer import Peer
from sandbox.ports import HOST, free_port, listening

PACKAGES = ("prefect==3.8.8", "fastapi==0.139.0")
"""Prefect does not start with newer versions of FastAPI."""


class Prefect(Peer):
    """Slow by design: it starts an interpreter for each run."""

    name = "prefect"
    scale = 0.02

    def versions(self) -> Mapping[str, str]:
        return {"packages": " ".join(PACKAGES), "store": "SQLite (its default)", "limit": "8"}

    def start_servers(self) -> None:
        self._python = self.workshop.python("prefect", PACKAGES)
        port = free_port()
        self._env = {
            "PREFECT_HOME": str(self.workshop.run / "prefect"),
            "PREFECT_API_URL": f"http://{HOST}:{port}/api",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_RUNNER_POLL_FREQUENCY": "1",
            "DO_NOT_TRACK": "1",
        }
        command = [self._python, "-m", "prefect", "server", "start", "--host", HOST]
        self.program(
            "prefect-server",
            [*command, "--port", str(port)],
            ready=lambda: listening(port),
            env=self._env,
        )
        self.program(
            "prefect-serve",
            [self._python, "on_prefect.py", "serve"],
            ready=self.logged("prefect-serve", "polling"),
            env=self._env,
        )

    def driver(self) -> tuple[Sequence[str | Path], Mapping[str, str]]:
        return [self._python, "on_prefect.py"], self._env
