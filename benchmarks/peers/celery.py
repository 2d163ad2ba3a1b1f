"""Celery 5 with Redis as broker and result store; Redis syncs its append-only file at every write."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.peers.peer import Peer, version_of
from benchmarks.peers.workshop import Workshop
from sandbox.ports import HOST, free_port, listening

PACKAGES = ("celery==5.7.0", "redis==8.1.0", "packaging==26.0")
CONCURRENCY = 2


class Celery(Peer):
    """Late acknowledgement, as many worker processes as cores."""

    name = "celery"

    def versions(self) -> Mapping[str, str]:
        return {
            "redis": version_of([_redis(), "--version"]),
            "packages": " ".join(PACKAGES),
            "concurrency": str(CONCURRENCY),
            "durability": "appendonly yes, appendfsync always, task_acks_late",
        }

    def start_servers(self) -> None:
        self._python = self.workshop.python("celery", PACKAGES)
        port = free_port()
        folder = self.workshop.run / "redis"
        folder.mkdir()
        options = ["--port", str(port), "--bind", HOST, "--dir", folder, "--save", ""]
        options += ["--appendonly", "yes", "--appendfsync", "always"]
        self.program("redis", [_redis(), *options], ready=lambda: listening(port))
        self._url = f"redis://{HOST}:{port}/0"
        command: Sequence[str | Path] = [
            self._python, "-m", "celery", "-A", "on_celery", "worker",
            "--concurrency", str(CONCURRENCY), "--without-gossip", "--without-mingle",
        ]  # fmt: skip
        ready = self.logged("celery-worker", "ready.")
        self.program("celery-worker", command, ready=ready, env={"REDIS_URL": self._url})

    def driver(self) -> tuple[Sequence[str | Path], Mapping[str, str]]:
        return [self._python, "on_celery.py"], {"REDIS_URL": self._url}


def _redis() -> Path:
    return Workshop.debian("redis-server", "redis-server")
