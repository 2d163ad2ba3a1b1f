"""A system that does the same as Cadenza, and the process that puts load on it."""

import asyncio
import os
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import psutil

from benchmarks.peers.workshop import APPS, Workshop
from sandbox.process import Process


class Peer(ABC):
    """One system: its servers, its workers, its driver. `scale` shrinks the counts for the slow ones."""

    name: ClassVar[str]
    scale: ClassVar[float] = 1.0

    def __init__(self, workshop: Workshop) -> None:
        self.workshop = workshop
        self._processes: list[Process] = []
        self._driver: asyncio.subprocess.Process | None = None

    @abstractmethod
    def versions(self) -> Mapping[str, str]:
        """What is measured, exactly; what the figures depend on."""

    @abstractmethod
    def start_servers(self) -> None:
        """Install what is missing, start everything but the driver."""

    @abstractmethod
    def driver(self) -> tuple[Sequence[str | Path], Mapping[str, str]]:
        """The command that takes orders (`apps/driving.py`) and what it needs in its environment."""

    async def start(self) -> None:
        await asyncio.to_thread(self.start_servers)
        command, env = self.driver()
        with (self.workshop.run / f"{self.name}-driver.log").open("wb") as log:
            self._driver = await asyncio.create_subprocess_exec(
                *map(str, command),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=self.env(env),
                cwd=APPS,
            )
        await self._answer("ready")

    async def order(self, *words: object) -> None:
        """Have the driver do something; returns when all was submitted."""
        assert self._driver is not None
        assert self._driver.stdin is not None
        self._driver.stdin.write(f"{' '.join(map(str, words))}\n".encode())
        await self._driver.stdin.drain()
        await self._answer("done")

    async def stop(self) -> None:
        if self._driver is not None and self._driver.returncode is None:
            self._driver.kill()
            await self._driver.wait()
        for process in reversed(self._processes):
            await asyncio.to_thread(process.stop)

    def program(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        ready: Callable[[], bool],
        env: Mapping[str, str] | None = None,
        timeout: float = 90,
    ) -> None:
        """Start a server or worker and wait until it is there."""
        process = Process(
            name,
            [str(part) for part in command],
            log=self.workshop.run / f"{name}.log",
            env=self.env(env or {}),
            cwd=APPS,
        )
        process.start()
        self._processes.append(process)
        process.wait_ready(ready, timeout=timeout)

    def env(self, more: Mapping[str, str]) -> dict[str, str]:
        return {**os.environ, "BENCH_SIGNALS": str(self.workshop.socket), **more}

    def logged(self, name: str, text: str) -> Callable[[], bool]:
        """A probe: the program has written this."""
        log = self.workshop.run / f"{name}.log"
        return lambda: log.exists() and text in log.read_text(errors="replace")

    def processes(self) -> list[psutil.Process]:
        """Everything of the system and its driver."""
        pids = [process.pid for process in self._processes]
        pids.append(self._driver.pid if self._driver else None)
        return [
            process
            for pid in pids
            if pid is not None
            for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True))
        ]

    def cpu_seconds(self) -> float:
        times = [process.cpu_times() for process in self.processes()]
        return sum(t.user + t.system + t.children_user + t.children_system for t in times)

    def memory_mb(self) -> float:
        """Resident memory of all processes, MiB; what they share counts for each."""
        return round(sum(process.memory_info().rss for process in self.processes()) / 2**20, 1)

    async def _answer(self, word: str) -> None:
        assert self._driver is not None
        assert self._driver.stdout is not None
        async with asyncio.timeout(600):
            while line := await self._driver.stdout.readline():
                if line.decode().strip() == word:
                    return
        raise RuntimeError(f"the driver of {self.name} ended; see {self.workshop.run}")


def version_of(command: Sequence[str | Path]) -> str:
    """The first line that a program says of itself."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    return done.stdout.strip().splitlines()[0]
