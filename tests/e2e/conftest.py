"""A whole platform on ports and in a folder of its own, as the command line starts it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from sandbox.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
PARTS = (
    "KAFKA",
    "MONGO",
    "AWS",
    "VIRTUOSO",
    "SEVEN_PS",
    "GATEWAY",
    "PROXY",
    "EXECUTOR",
    "EXTRACTOR",
    "SCANNER",
)


class Platform:
    """Calls `cadenza` against one sandbox."""

    def __init__(self, folder: Path) -> None:
        ports = {f"SANDBOX__{part}_PORT": str(free_port()) for part in PARTS}
        kept = {
            name: os.environ[name]
            for name in ("PATH", "HOME", "XDG_CACHE_HOME")
            if name in os.environ
        }
        self.folder = folder
        self.env = {**kept, **ports, "SANDBOX__DATA": str(folder), "PYTHONPATH": str(ROOT)}
        self.process: subprocess.Popen[str] | None = None

    def call(self, *arguments: str, timeout: float = 110) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "cli", *arguments],
            env=self.env,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def json(self, *arguments: str) -> dict:
        done = self.call(*arguments, "--json")
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def up(self) -> None:
        """`cadenza up`; returns once everything is ready."""
        with (self.folder.parent / "up.log").open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cli", "up", "--json"],
                env=self.env, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        assert self.process.stdout
        told = self.process.stdout.readline()
        assert told.strip() == "{", (self.folder.parent / "up.log").read_text()

    @property
    def gateway(self) -> str:
        return f"http://127.0.0.1:{self.env['SANDBOX__GATEWAY_PORT']}"

    @contextmanager
    def seven_ps(self) -> Iterator[None]:
        """`cadenza simulate seven-ps` beside it; returns once it listens."""
        port = self.env["SANDBOX__SEVEN_PS_PORT"]
        process = subprocess.Popen(
            [sys.executable, "-m", "sandbox.seven_ps", "--port", port, "--step-ms", "20"],
            env=self.env, cwd=ROOT, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert process.stdout
            assert "7PS simulator" in process.stdout.readline()
            yield
        finally:
            process.terminate()
            process.wait(30)
            process.stdout.close()

    def end(self, number: signal.Signals = signal.SIGINT) -> float:
        """How long the platform took to end."""
        assert self.process
        began = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(30)
        self.process.stdout.close()
        self.process = None
        return time.monotonic() - began


@pytest.fixture
def platform(tmp_path):
    made = Platform(tmp_path / "data")
    yield made
    if made.process:
        made.end(signal.SIGTERM)


def everything_of(platform: Platform) -> list[psutil.Process]:
    """All processes that carry this platform's ports in their environment, and their descendants."""
    mark = platform.env["SANDBOX__DATA"]
    found = []
    for process in psutil.process_iter():
        try:
            inside = process.environ().get("SANDBOX__DATA") == mark
            inside = inside or any(mark in argument for argument in process.cmdline())
        except psutil.Error:
            continue
        if inside and process.status() != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found
