"""Folders that runs work in: `<work_dir>/<host>-<pid>-<start time>/<execution>.<epoch>/`.

Each process has its own root, so that a starting executor can remove what dead ones left behind. A run that moves to
another owner begins with an empty working directory: what later steps need travels as outputs or artifacts.
"""

import os
import shutil
from pathlib import Path

import psutil


class Workspace:
    """The folders of one executor process."""

    name = "workspace"

    def __init__(self, work_dir: Path, *, host: str) -> None:
        # Without links of the operator's own: any link below it is a command's.
        self._work_dir = work_dir.resolve()
        self._host = host
        self.root = self._work_dir / _mark(host, os.getpid())

    async def start(self) -> None:
        """Raises OSError when the folder cannot be made."""
        self._work_dir.mkdir(parents=True, exist_ok=True)
        self._remove_leftovers()
        self.root.mkdir(mode=0o700, exist_ok=True)

    async def stop(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)

    def folder_of(self, execution_id: str, epoch: int) -> Path:
        """Where a run may make its folder; it lies below one that only the executor's user may enter."""
        return self.root / f"{execution_id}.{epoch}"

    def remove(self, folder: Path) -> None:
        """Remove a run's folder, if it made one."""
        if folder.exists():
            shutil.rmtree(folder, ignore_errors=True)

    def _remove_leftovers(self) -> None:
        for root in self._work_dir.glob(f"{self._host}-*"):
            pid = root.name.removeprefix(f"{self._host}-").split("-")[0]
            if pid.isdecimal() and root.name != _mark(self._host, int(pid)):
                shutil.rmtree(root, ignore_errors=True)


def _mark(host: str, pid: int) -> str:
    try:
        started = int(psutil.Process(pid).create_time() * 1000)
    except psutil.Error:
        started = 0
    return f"{host}-{pid}-{started}"
