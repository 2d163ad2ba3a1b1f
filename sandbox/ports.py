"""TCP ports: find a free one, refuse a taken one, see whether somebody listens."""

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

from sandbox.errors import PortTaken

HOST = "127.0.0.1"
FIRST = 10_000


def free_port() -> int:
    """A port that nobody listens on, and that nobody will be given by chance before it is used.

    The system takes the source ports of connections out of a range of its own, and `bind(0)` too: what lies in it may
    be gone when a service that was stopped for a moment comes back. So this one lies below, and every caller on this
    machine gets the next.
    """
    first, end = _unused_range()
    if end - first < 1000:
        return _ephemeral()
    with _turn_file().open("a+") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        turn.seek(0)
        last = turn.read().strip()
        port = int(last) if last.isdecimal() and first <= int(last) < end else _anywhere(first, end)
        for _ in range(end - first):
            port = port + 1 if port + 1 < end else first
            if _bindable(port):
                turn.truncate(0)
                turn.write(str(port))
                return port
    return _ephemeral()


def _unused_range() -> tuple[int, int]:
    """Above what services usually listen on, below what the system gives to connections."""
    try:
        begin = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return FIRST, FIRST
    return FIRST, max(FIRST, begin)


def _turn_file() -> Path:
    return Path(tempfile.gettempdir()) / f"cadenza-ports-{os.getuid()}"


def _anywhere(first: int, end: int) -> int:
    """Where to begin when there is no last one; another machine's processes may share the network, not the file."""
    return random.randrange(first, end)


def _bindable(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _ephemeral() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def ensure_free(port: int, *, part: str, setting: str | None = None) -> None:
    """PortTaken, in one sentence, when somebody else listens on `port`."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            advice = f", or set {setting} to a free port" if setting else ""
            raise PortTaken(
                f"Port {port}, which {part} needs, is taken{_taken_by(port)}: "
                f"stop that program{advice}."
            ) from None


def listening(port: int) -> bool:
    """True when something accepts connections on `port`."""
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


def _taken_by(port: int) -> str:
    import psutil

    try:
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:
        return ""
    return ""
