"""Named places where a test may stop the process: `crash.point("ingest.after_steps")`.

Does nothing unless the environment variable `CRASH_POINT` names the point when the process starts. `name:3` lets the
point pass twice and stops at the third time. The process is killed, not ended: no cleanup runs. The last thing that it
does is to say so on stderr, so that a test knows this death from any other.
"""

import os
import signal

_armed, _, _count = os.environ.get("CRASH_POINT", "").partition(":")
_left = int(_count or 1)


def point(name: str) -> None:
    """Kill this process here when `CRASH_POINT` says so."""
    global _left  # noqa: PLW0603 - one process, one armed point
    if name != _armed:
        return
    _left -= 1
    if _left == 0:
        os.write(2, f"stopped at crash point {name}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)
