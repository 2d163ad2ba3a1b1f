"""How every measured system tells that a run was accepted, has started, has ended: one datagram to the benchmark.

The clock is `time.perf_counter`, on Linux the same in all processes. Used by the apps, inside the environments of the
peers: nothing but the standard library.
"""

import os
import socket
import time

_socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
_path = os.environ["BENCH_SIGNALS"]


def tell(what: str, run: str) -> None:
    """`what` is accepted, started or ended."""
    _socket.sendto(f"{what} {run} {time.perf_counter()}".encode(), _path)


def accepted(run: str, begun: float) -> None:
    """`begun`: when the submission was sent."""
    _socket.sendto(f"accepted {run} {time.perf_counter()} {begun}".encode(), _path)
