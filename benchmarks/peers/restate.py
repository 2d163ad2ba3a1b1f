"""Restate: a single Rust server with its log on disk, the Python SDK on granian."""

import json
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.peers.peer import Peer
from sandbox.ports import HOST, free_port, listening

SERVER = "@restatedev/restate-server@1.7.12"
PACKAGES = ("restate-sdk[serde]==1.3.0", "granian==2.8.7", "aiohttp==3.14.5")
WORKERS = 2
"""Processes of the SDK's server: one for each core."""


class Restate(Peer):
    """Invocations are sent one way and run by the service behind granian."""

    name = "restate"

    def versions(self) -> Mapping[str, str]:
        return {"server": SERVER, "packages": " ".join(PACKAGES), "workers": str(WORKERS)}

    def start_servers(self) -> None:
        self._python = self.workshop.python("restate", PACKAGES)
        server = self.workshop.npm("restate-server", SERVER, "restate-server")
        self._ingress, admin, node, service = (free_port() for _ in range(4))
        env = {
            "RESTATE_BASE_DIR": str(self.workshop.run / "restate-data"),
            "RESTATE_INGRESS__BIND_ADDRESS": f"{HOST}:{self._ingress}",
            "RESTATE_ADMIN__BIND_ADDRESS": f"{HOST}:{admin}",
            "RESTATE_BIND_ADDRESS": f"{HOST}:{node}",
            "RESTATE_ADVERTISED_ADDRESS": f"http://{HOST}:{node}",
            "RESTATE_LOG_FILTER": "warn",
        }
        self.program("restate-server", [server], ready=lambda: listening(admin), env=env)
        command: Sequence[str | Path] = [
            self._python, "-m", "granian", "--interface", "asgi", "--http", "auto",
            "--host", HOST, "--port", str(service), "--workers", str(WORKERS), "on_restate:app",
        ]  # fmt: skip
        self.program("restate-service", command, ready=lambda: listening(service))
        _post(f"http://{HOST}:{admin}/deployments", {"uri": f"http://{HOST}:{service}"})

    def driver(self) -> tuple[Sequence[str | Path], Mapping[str, str]]:
        ingress = f"http://{HOST}:{self._ingress}"
        return [self._python, "on_restate.py"], {"RESTATE_INGRESS": ingress}


def _post(url: str, body: object) -> None:
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"content-type": "application/json"}
    )
    urllib.request.urlopen(request, timeout=60).read()
