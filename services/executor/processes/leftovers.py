"""Ends the daemons that a run leaves behind in sessions of their own after its steps have ended well.

A step's group ends with the step. A daemon that left its group becomes the guardian's child: whether there is any is
one read of the guardian's list of children, so a run that leaves nothing behind costs nothing.
"""

import os
from pathlib import Path

from services.executor.processes.ending import kill_rows
from services.executor.processes.table import marked


def end_leftovers(mark: str) -> int:
    """SIGKILL for every process that carries `mark` (`CADENZA_EXECUTION_ID=…`), if there are orphans at all; how many.

    Only for a worker under a guardian: elsewhere nobody keeps the list.
    """
    parent = os.getppid()
    try:
        siblings = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    except OSError:
        siblings = ["unknown", "list"]
    if len(siblings) < 2:
        return 0
    rows = [row for row in marked(mark) if not row.zombie and row.pid != os.getpid()]
    kill_rows(rows)
    return len(rows)
