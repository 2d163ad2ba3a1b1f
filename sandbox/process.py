"""One child process: its own group, its own log file, and no life without its parent.

All children are started by one thread that lives as long as this process, because Linux sends the parent-death signal
when the *thread* that started the child ends.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sandbox.errors import DiskFull, SandboxError

_LAUNCHER = str(Path(__file__).with_name("launch.py"))
_FULL = ("No space left on device", "ENOSPC")
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sandbox-starter")


class Process:
    """A program that can be started, waited for and ended, again and again."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        orphan_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        self.name = name
        self.log = log
        self._command = command
        self._env = env
        self._cwd = cwd
        self._orphan_signal = orphan_signal
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child else None

    @property
    def alive(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def start(self, stopping: threading.Event | None = None) -> None:
        """Start the program, unless it is no longer wanted; returns at once."""
        if stopping is not None and stopping.is_set():
            raise SandboxError(f"{self.name} was stopped before it had started.")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._child = _starter.submit(self._spawn).result()

    def wait_ready(
        self,
        probe: Callable[[], bool],
        *,
        timeout: float,
        stopping: threading.Event | None = None,
        interval: float = 0.05,
    ) -> None:
        """Return when `probe` says yes; SandboxError when the program ends first or the time is up."""
        deadline = time.monotonic() + timeout
        while not probe():
            if not self.alive:
                raise self.failure("ended while it was starting")
            if stopping is not None and stopping.is_set():
                raise SandboxError(f"{self.name} was stopped while it was starting.")
            if time.monotonic() > deadline:
                raise self.failure(f"was not ready after {timeout:.0f} s")
            time.sleep(interval)

    def wait(self, timeout: float) -> int:
        """The exit code of a program that ends by itself."""
        if self._child is None:
            raise SandboxError(f"{self.name} was never started.")
        return self._child.wait(timeout)

    def failure(self, what: str) -> SandboxError:
        """An error that says what happened and shows the last line of the log."""
        lines = self.log_lines()
        if any(word in line for line in lines for word in _FULL):
            return DiskFull(f"{self.name} {what}: the disk is full (log: {self.log}).")
        last = f": {lines[-1]}" if lines else ""
        return SandboxError(f"{self.name} {what}{last} (log: {self.log}).")

    def log_lines(self, last: int = 20) -> list[str]:
        """The last lines of the log."""
        if not self.log.exists():
            return []
        with self.log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 16_384))
            text = file.read().decode("utf-8", "replace")
        return [line.strip() for line in text.splitlines() if line.strip()][-last:]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the whole process group; nothing happens when it is gone."""
        if self._child is None:
            return
        try:
            os.killpg(self._child.pid, number)
        except ProcessLookupError:
            return

    def stop(self, grace: float = 3.0) -> None:
        """Ask the program to end, then end it and all of its group."""
        if self.alive:
            self.signal(signal.SIGTERM)
            self._wait_gone(grace)
        self.kill()

    def kill(self) -> None:
        """End the whole group without warning."""
        self.signal(signal.SIGKILL)
        if self._child is not None:
            self._child.wait()

    def _wait_gone(self, seconds: float) -> None:
        assert self._child is not None
        try:
            self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            return

    def _spawn(self) -> subprocess.Popen[bytes]:
        launcher = [sys.executable, "-I", "-S", _LAUNCHER]
        parent = [str(os.getpid()), str(int(self._orphan_signal))]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*launcher, *parent, *self._command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=None if self._env is None else dict(self._env),
                cwd=self._cwd,
                start_new_session=True,
            )
