"""What is said about a process: what to start, within which limits, what was measured."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Stream = Literal["stdout", "stderr"]

LogSink = Callable[[Stream, str], Awaitable[None]]
"""Takes redacted text: one or more lines, each with its newline. A piece without one is the end of the stream or a
part of a line longer than 64 KiB. The process waits (its pipe fills) while the sink does."""

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What a process may take; None: no limit. The output cap counts what is kept, per stream: the rest is read and
    dropped, so that the process never blocks on it.
    """

    output_bytes: int = 10 * MIB
    memory_mb: int | None = None
    """Address space of each process, and memory held by all of them together."""
    cpu_seconds: int | None = None
    open_files: int | None = None
    file_size_mb: int | None = None
    processes: int | None = None
    """Counts per user id and does not bind root."""
    address_space: bool = True
    """False: `memory_mb` counts only what is held in memory, by all processes together (browsers, suites)."""
    output_fails: bool = False
    """More output than is kept ends the process, as `failed(output_limit)`."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement of a process and its descendants. Network bytes cannot be told apart by process: None."""

    at: datetime
    memory_usage_mb: float
    cpu_usage_percent: float
    active_threads: int
    network_bytes_sent: int | None = None
    network_bytes_received: int | None = None


OnSample = Callable[[Sample], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """What to start. `env` is the complete environment: nothing is inherited."""

    argv: Sequence[str]
    env: Mapping[str, str]
    working_dir: str
    uid: int | None = None
    """User and group that it runs as; None: this process's own."""
