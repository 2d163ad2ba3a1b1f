"""A Python module as a process: moto, the simulator, each service. Ready when an address of it answers 2xx."""

import signal
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from sandbox.part import Say, silent
from sandbox.ports import HOST, ensure_free
from sandbox.process import Process


class Module:
    """`python -m module …` that listens on a port of this machine."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        port: int,
        ready: str,
        log: Path,
        setting: str,
        env: Mapping[str, str] | None = None,
        grace: float = 2.0,
        timeout: float = 60.0,
        orphan_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        self.name = name
        self.port = port
        self.url = f"http://{HOST}:{port}"
        self.stopping = threading.Event()
        self._ready = self.url + ready
        self.port_setting = setting
        self._grace = grace
        self._timeout = timeout
        self._process = Process(
            name,
            [sys.executable, "-m", *command],
            log=log,
            env=env,
            orphan_signal=orphan_signal,
        )

    @property
    def pid(self) -> int | None:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.alive

    def start(self, say: Say = silent) -> None:
        """Start the process; return when it answers."""
        self.stopping.clear()
        ensure_free(self.port, part=self.name, setting=self.port_setting)
        say("starting")
        self._process.start(self.stopping)
        self._process.wait_ready(
            lambda: answers(self._ready), timeout=self._timeout, stopping=self.stopping
        )

    def stop(self) -> None:
        """Ask it to end, then end it."""
        self.stopping.set()
        self._process.stop(self._grace)

    def kill(self) -> None:
        """End it without warning."""
        self._process.kill()

    def why(self) -> str:
        """One sentence about a process that has ended by itself."""
        return self._process.failure("has ended").message


# A proxy that the environment names is for the world outside.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def answers(url: str, *, timeout: float = 1.0) -> bool:
    """True when `url` answers with a success."""
    try:
        with _direct.open(url, timeout=timeout) as response:
            return bool(200 <= response.status < 300)
    except (OSError, urllib.error.URLError):
        return False
