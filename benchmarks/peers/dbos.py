"""DBOS: a library that records each step in PostgreSQL; load and work share one process, as it is meant."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.peers.peer import Peer, version_of
from benchmarks.peers.workshop import Workshop
from sandbox.ports import HOST, free_port, listening

PACKAGES = ("dbos==3.4.0",)


class Dbos(Peer):
    """PostgreSQL as Debian configures it: every commit is synced."""

    name = "dbos"

    def versions(self) -> Mapping[str, str]:
        return {
            "postgres": version_of([_postgres("postgres"), "--version"]),
            "packages": " ".join(PACKAGES),
            "durability": "fsync on, synchronous_commit on",
        }

    def start_servers(self) -> None:
        self._python = self.workshop.python("dbos", PACKAGES)
        self._port = free_port()
        folder = self.workshop.run / "postgres"
        folder.mkdir()
        as_user: list[str] = []
        if os.geteuid() == 0:  # it refuses to run as root
            shutil.chown(folder, "postgres")
            as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        subprocess.run(
            [*as_user, _postgres("initdb"), "-D", folder, "-U", "bench", "--auth", "trust"],
            check=True,
            capture_output=True,
            cwd=folder,
        )
        command = [_postgres("postgres"), "-D", folder, "-p", str(self._port), "-k", folder]
        command += ["-c", f"listen_addresses={HOST}", "-c", "max_connections=200"]
        self.program("postgres", [*as_user, *command], ready=lambda: listening(self._port))

    def driver(self) -> tuple[Sequence[str | Path], Mapping[str, str]]:
        url = f"postgresql://bench@{HOST}:{self._port}/bench"
        return [self._python, "on_dbos.py"], {"POSTGRES_URL": url}


def _postgres(program: str) -> Path:
    return Workshop.debian(program, "postgresql", places="/usr/lib/postgresql/*/bin")
