"""TCP ports: find a free one, refuse a taken one, see whether somebody listens."""

import socket

from sandbox.errors import PortTaken

HOST = "127.0.0.1"


def free_port() -> int:
    """A port that nobody listens on at this moment."""
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
