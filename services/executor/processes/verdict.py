"""Why a process ended, in words that people understand.

A limit shows in many ways: a signal, a shell's exit code for one, or only in what the program said last. Words count
as evidence for nothing but a limit that was really set.
"""

import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field

from services.executor.commands.outcome import StepStatus
from services.executor.processes.model import Limits
from services.executor.processes.spawning import Exit

SHELL_SIGNAL = 128
"""A shell ends with this plus the number of the signal that ended its last program."""
NEAR_LIMIT = 0.9
_FATAL = {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGKILL, signal.SIGTRAP}

_NO_MEMORY = re.compile(
    rb"MemoryError|Cannot allocate memory|bad_alloc|(?i:out of memory|memory exhausted)"
    rb"|OutOfMemoryError|insufficient memory"
)
_NO_PROCESS = re.compile(
    rb"Resource temporarily unavailable|can't start new thread|(?i:cannot fork)"
)
_NO_FILE = re.compile(rb"Too many open files")
_NO_SPACE = re.compile(rb"No space left on device")
_TOO_LARGE = re.compile(rb"File too large|File size limit exceeded")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a process that has ended."""

    limits: Limits = field(default_factory=Limits)
    stopped_by: str | None = None
    """What it was ended for; None: it ended by itself."""
    last_words: bytes = b""
    """The end of its error output."""
    peak_memory_mb: float | None = None
    killed_by_kernel: bool = False
    """The kernel ended a process for want of memory while this one ran."""
    disk_full: bool = False
    """There is no room below the working directory."""


Verdict = tuple[StepStatus, str | None, str | None]


def verdict(end: Exit, evidence: Evidence) -> Verdict:
    """Status, reason and a sentence."""
    if evidence.stopped_by is not None:
        return _stopped(evidence.stopped_by, evidence.limits)
    if end.code == 0:
        return "completed", None, None
    if end.code is None and end.signal is None:
        return "failed", "start_failed", "its exit status was taken by somebody else"
    reason, sentence = _plain(end)
    for limit, explanation in _limits_met(end, evidence):
        return "failed", limit, f"{explanation}; {sentence}"
    return "failed", reason, sentence


def was_killed(end: Exit) -> bool:
    """By SIGKILL, or the last program of a shell was."""
    return end.signal == signal.SIGKILL or end.code == SHELL_SIGNAL + signal.SIGKILL


def _stopped(why: str, limits: Limits) -> Verdict:
    match why:
        case "timeout":
            return "timed_out", "timeout", "the time limit has passed"
        case "output_limit":
            return "failed", "output_limit", f"more output than {limits.output_bytes} bytes"
        case "oom":
            return "failed", "oom", _memory(limits)
    return "cancelled", "cancelled", "cancelled while running"


def _plain(end: Exit) -> tuple[str, str]:
    if end.code is not None:
        return "nonzero_exit", f"ended with exit code {end.code}"
    return "signal", f"ended by signal {end.signal} ({_name(end.signal or 0)})"


def _limits_met(end: Exit, evidence: Evidence) -> Iterator[tuple[str, str]]:
    """The limits that explain the end, the surest first."""
    limits, words = evidence.limits, evidence.last_words
    number = end.signal if end.code is None else end.code - SHELL_SIGNAL
    cpu, size = limits.cpu_seconds, limits.file_size_mb
    if cpu is not None and (
        number == signal.SIGXCPU or (number == signal.SIGKILL and end.cpu_seconds >= cpu)
    ):
        yield "cpu_limit", f"the limit of {cpu} s of CPU time was reached"
    if size is not None and (number == signal.SIGXFSZ or _TOO_LARGE.search(words)):
        yield "file_size_limit", f"a file reached the limit of {size} MiB"
    if number == signal.SIGKILL and evidence.killed_by_kernel:
        yield "oom", "the machine or container ran out of memory"
    if _out_of_memory(number, evidence):
        yield "oom", _memory(limits)
    if evidence.disk_full and _NO_SPACE.search(words):
        yield "disk_full", "the disk of the working directory is full"
    if limits.processes is not None and _NO_PROCESS.search(words):
        yield "process_limit", f"the limit of {limits.processes} processes and threads was reached"
    if limits.open_files is not None and _NO_FILE.search(words):
        yield "open_files_limit", f"the limit of {limits.open_files} open files was reached"


def _out_of_memory(number: int | None, evidence: Evidence) -> bool:
    limit = evidence.limits.memory_mb
    if limit is None:
        return False
    near = (evidence.peak_memory_mb or 0) >= NEAR_LIMIT * limit
    return bool(_NO_MEMORY.search(evidence.last_words)) or (near and number in _FATAL)


def _memory(limits: Limits) -> str:
    return f"the limit of {limits.memory_mb} MiB of memory was reached"


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
