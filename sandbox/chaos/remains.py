"""What killed executors may have left on this machine: processes that carry an owner's mark, working directories."""

from collections.abc import Collection
from pathlib import Path

from services.executor.processes.environment import EXECUTION_ID
from services.executor.processes.table import environments


def processes_of(ids: Collection[str]) -> list[str]:
    """Processes of these executions that still live, one line each."""
    wanted = {f"{EXECUTION_ID}={id_}".encode() for id_ in ids}
    return [
        f"process {row.pid} of {entry.decode().partition('=')[2]} still lives"
        for row, entries in environments()
        if not row.zombie
        for entry in entries
        if entry in wanted
    ]


def folders_of(work: Path, ids: Collection[str]) -> list[str]:
    """Working directories of these executions, one line each."""
    wanted = set(ids)
    return [
        f"folder {folder.parent.name}/{folder.name} is left"
        for folder in work.glob("*/*")
        if folder.name.partition(".")[0] in wanted
    ]
