"""The small process above the worker, which owns everything that the worker starts.

    guardian (child subreaper, PID 1 in a container)
    └── worker (dies with the guardian)
        └── steps, their children, their daemons

Promises:
- When the worker ends, for whatever reason, all below it is ended too, daemons in sessions of their own included.
- When the worker's deadline passes without a new one (its lease may be somebody else's by then), worker and all
  descendants are ended. Deadlines come as lines `deadline <monotonic seconds>` through a pipe.
- Before the worker starts, what a dead predecessor on this host left running is ended. The worker is told whether that
  is sure (the all-clear): then it may go on at once with what the predecessor had begun.
- SIGTERM, SIGINT and SIGHUP are passed on to the worker; zombies are reaped; the exit code is the worker's (128 + n
  after signal n). Nothing is ever restarted.

Synchronous and without the service's modules: it stays small and cannot stall.
"""

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress

from services.executor.processes.kernel import become_subreaper, hide_memory
from services.executor.processes.marks import own_everything
from services.executor.processes.ownership import orphans, owner_mark
from services.executor.processes.table import ProcessRow, children_of, snapshot

ARGUMENT = "--guardian="
CLEAR, LEFT = "clear", "left"
FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
END_SECONDS = 5.0
_AGAIN_SECONDS = 0.01
_SOON_SECONDS = 0.001


def run(command: Sequence[str]) -> int:
    """Guard `command` (the worker's command line; it gets one more argument) until it ends; its exit code."""
    become_subreaper()
    own_everything()
    hide_memory()  # our environment holds the same secrets as the worker's
    clear = CLEAR if end_predecessors() else LEFT
    wake_read, wake_write = os.pipe()
    for end in (wake_read, wake_write):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    # Children that end wake the loop; what a signal means is decided by its number in the pipe.
    for number in (*FORWARDED, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    link_read, link_write = os.pipe()
    worker = subprocess.Popen(
        [*command, f"{ARGUMENT}{link_write}:{clear}:{owner_mark()}"],
        pass_fds=[link_write],
        # Ctrl-C at a terminal reaches the whole foreground group; the worker shall hear it once, from here.
        process_group=0,
    )
    os.close(link_write)
    os.set_blocking(link_read, False)
    return _Guardian(worker, wake_read, link_read).guard()


def end_predecessors() -> bool:
    """End what dead guardians of this host left behind; True when nothing of it is left."""
    until = time.monotonic() + END_SECONDS
    while left := orphans():
        if time.monotonic() > until:
            _say(f"{len(left)} processes of a predecessor could not be ended")
            return False
        _kill(left)
        time.sleep(_AGAIN_SECONDS)
    return True


def end_descendants() -> bool:
    """SIGKILL for everything below this process, until nothing is left. False when something would not go."""
    until = time.monotonic() + END_SECONDS
    while time.monotonic() < until:
        # Who loses its parent comes here. A quick look at these alone also catches a chain of forks, which would be one
        # ahead of every look at all processes.
        for pid in children_of(os.getpid()):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not _reap_others():
            return True
        time.sleep(_SOON_SECONDS)
    return False


class _Guardian:
    """The loop: a signal, a line from the worker, or the deadline."""

    def __init__(self, worker: "subprocess.Popen[bytes]", wake: int, link: int) -> None:
        self._worker = worker
        self._wake = wake
        self._link = link
        self._lines = b""
        self._deadline: float | None = None
        self._selector = selectors.DefaultSelector()
        self._selector.register(wake, selectors.EVENT_READ)
        self._selector.register(link, selectors.EVENT_READ)

    def guard(self) -> int:
        while (code := self._worker.poll()) is None:
            self._turn()
        if not end_descendants():
            _say("some processes could not be ended")
        return 128 - code if code < 0 else code

    def _turn(self) -> None:
        left = None if self._deadline is None else self._deadline - time.monotonic()
        if left is not None and left <= 0:
            _say("the worker's deadline has passed; ending it and all that it started")
            self._deadline = None
            _kill(snapshot().descendants(os.getpid()))
            with suppress(subprocess.TimeoutExpired):
                self._worker.wait(END_SECONDS)
            return
        for key, _ in self._selector.select(left):
            if key.fd == self._wake:
                self._signals()
            else:
                self._listen()
        self._reap_orphans()

    def _signals(self) -> None:
        for number in os.read(self._wake, 4096):
            if number in FORWARDED:
                self._worker.send_signal(number)

    def _listen(self) -> None:
        data = os.read(self._link, 65_536)
        if not data:
            self._selector.unregister(self._link)
            return
        *lines, self._lines = (self._lines + data).split(b"\n")
        for line in lines:
            word, _, value = line.partition(b" ")
            if word == b"deadline":
                with suppress(ValueError):
                    self._deadline = float(value) if value != b"none" else None

    def _reap_orphans(self) -> None:
        """Take the status of dead children that are not the worker: orphans that became ours."""
        look = os.WEXITED | os.WNOHANG | os.WNOWAIT
        with suppress(ChildProcessError):
            while (dead := os.waitid(os.P_ALL, 0, look)) and dead.si_pid != self._worker.pid:
                os.waitpid(dead.si_pid, os.WNOHANG)


def _kill(rows: Iterable[ProcessRow]) -> None:
    for row in rows:
        if not row.zombie:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(row.pid, signal.SIGKILL)


def _reap_others() -> bool:
    """Take the status of every dead child; False when there is no child any more."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
        return True
    return False


def _say(message: str) -> None:
    print(f"guardian: {message}", file=sys.stderr, flush=True)  # noqa: T201 - it has no logger
