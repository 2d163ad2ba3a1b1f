"""What the tests about processes share: steps that start some, and who of them lives."""

from pathlib import Path

import psutil

from tests.builders.runs import a_step

DAEMON = "setsid env -i /bin/bash -c 'setsid /bin/bash -c \"echo \\$\\$ >> {pids}; exec sleep 99\" & exit' &"
"""In a session of its own, nobody's child, without its environment."""


def shell(command: str, name: str = "one", **more):
    return a_step(name, command={"type": "shell", "command": command}, **more)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def worker_of(executor) -> psutil.Process:
    """The guardian's child that is not a step's."""
    return next(
        child
        for child in psutil.Process(executor.pid).children()
        if "services.executor" in " ".join(child.cmdline())
    )


class Pids:
    """A file that steps write process ids to."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "pids"

    def __call__(self) -> list[int]:
        return [int(word) for word in self.path.read_text().split()] if self.path.exists() else []


def folders(it) -> list[Path]:
    """Working directories of runs."""
    return list((it.folder / "work").glob("*/*"))
