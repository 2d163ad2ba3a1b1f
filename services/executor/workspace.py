"""Folders that runs work in: `<work_dir>/<host>-<pid>-<random>/<execution>.<epoch>/`.

Each process has its own root and holds a lock on it for as long as it lives, so that a starting executor can remove
what dead ones left behind: the kernel lets go of the lock when a process ends, whether or not anybody has waited for
it yet, and a number that came round again or a clock that was set says nothing about it. A run that moves to another
owner begins with an empty working directory: what later steps need travels as outputs or artifacts.
"""

import fcntl
import os
import secrets
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import structlog

_ROUNDS = 3
log = structlog.get_logger()


class Workspace:
    """The folders of one executor process."""

    name = "workspace"

    def __init__(self, work_dir: Path, *, host: str, shared: bool = False) -> None:
        """`shared`: steps run as other users, who must find the way to their run's folder."""
        # Without links of the operator's own: any link below it is a command's.
        self._work_dir = work_dir.resolve()
        self._host = host
        self._mode = 0o711 if shared else 0o700
        self.root = self._work_dir / f"{host}-{os.getpid()}-{secrets.token_hex(4)}"
        self._lock: int | None = None

    async def start(self) -> None:
        """Raises OSError when the folder cannot be made."""
        self._work_dir.mkdir(parents=True, exist_ok=True)
        self._remove_leftovers()
        # Until it is locked another that starts may take it for left behind.
        while self._lock is None:
            with suppress(FileNotFoundError, FileExistsError):  # it is there, and then it is not
                self.root.mkdir(mode=0o700, exist_ok=True)
                self._lock = _lock(self.root)
        self.root.chmod(self._mode)

    async def stop(self) -> None:
        _remove(self.root)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def folder_of(self, execution_id: str, epoch: int) -> Path:
        """Where a run may make its folder; it lies below one that only the executor's user may enter."""
        return self.root / f"{execution_id}.{epoch}"

    def remove(self, folder: Path) -> None:
        """Remove a run's folder, or whatever its commands have put there, if there is one."""
        _remove(folder)

    def _remove_leftovers(self) -> None:
        for root in self._work_dir.glob(f"{self._host}-[0-9]*-*"):
            try:
                lock = _lock(root)
            except OSError:  # not ours, or no folder
                _remove(root)
                continue
            if lock is not None:
                _remove(root)
                os.close(lock)


def _lock(root: Path) -> int | None:
    """A descriptor that holds `root` until it is closed; None when another process does, or the folder is gone.

    Raises OSError where there can be no lock.
    """
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    with suppress(BlockingIOError, FileNotFoundError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), root.stat()):
            return descriptor
    os.close(descriptor)
    return None


def _remove(path: Path) -> None:
    """Commands owned what is below `path`: links in its place, folders that nobody may enter, trees of any depth."""
    problem = "something goes on writing there"
    for _ in range(_ROUNDS):
        try:
            if path.is_symlink() or not path.is_dir():
                path.unlink(missing_ok=True)
            else:
                shutil.rmtree(path)
        except FileNotFoundError:
            continue  # something of it ended just now
        except OSError as error:
            problem = str(error)
            _open_folders(path)
        except RecursionError:  # `rm` needs no stack
            subprocess.run(["rm", "-rf", "--", str(path)], check=False, capture_output=True)
        if not os.path.lexists(path):
            return
    log.warning("workspace.left", folder=str(path), problem=problem)


def _open_folders(path: Path) -> None:
    with suppress(OSError, RecursionError):
        path.chmod(0o700)
        for folder, names, _ in os.walk(path):
            for name in names:
                inner = Path(folder, name)
                with suppress(OSError):
                    if not inner.is_symlink():
                        inner.chmod(0o700)
