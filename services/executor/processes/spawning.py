"""Starts one process and knows when it ended.

The process gets a session and group of its own, no standard input, and two pipes. Its end is awaited through a pidfd
in whatever event loop runs (a thread where the system has none), and `wait4` tells what it used. Nothing here makes
Python fork, but for a process that runs as another user: `subprocess` uses vfork as long as no `preexec_fn`, `user` or
`group` is asked for. No program changes the user: it would run as ours, with variables (`LD_PRELOAD`) of the plan.
"""

import asyncio
import errno
import os
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from services.executor.processes.marks import marking
from services.executor.processes.model import MIB, Limits, ProcessSpec


class StartFailed(Exception):
    """The process could not be started; `reason` is a stable word."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended. Both None: somebody else took its status."""

    code: int | None
    signal: int | None
    cpu_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Child:
    """A started process; whoever holds it closes the two pipes."""

    pid: int
    stdout: int
    stderr: int
    exited: "asyncio.Future[Exit]"


def spawn(spec: ProcessSpec, limits: Limits, *, number: int) -> Child:
    """Start it; `number` marks it and all that comes from it. Raises StartFailed."""
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    try:
        with marking(number):
            process = subprocess.Popen(
                _with_limits(spec, limits),
                cwd=spec.working_dir,
                env=dict(spec.env),
                stdin=_nothing(),
                stdout=out_write,
                stderr=err_write,
                start_new_session=True,
                user=spec.uid,
                group=spec.uid,
                extra_groups=None if spec.uid is None else (),
            )
    except (OSError, ValueError) as error:
        os.close(out_read)
        os.close(err_read)
        raise _start_failed(spec, error) from error
    finally:
        os.close(out_write)
        os.close(err_write)
    os.set_blocking(out_read, False)
    os.set_blocking(err_read, False)
    return Child(process.pid, out_read, err_read, _await_exit(process))


@cache
def _nothing() -> int:
    """Standard input of every process; opened once instead of with each."""
    return os.open(os.devnull, os.O_RDONLY)


def _with_limits(spec: ProcessSpec, limits: Limits) -> Sequence[str]:
    """The command line, through a shell that sets limits and then becomes the program, where there are limits."""
    kib, blocks = 1024, 512
    lines = [
        f"ulimit {flag} {value}"
        for flag, value in (
            ("-v", _address_space(limits, kib)),
            ("-S -t", limits.cpu_seconds),  # SIGXCPU, by which the end is told from others
            ("-H -t", limits.cpu_seconds and limits.cpu_seconds + 1),  # SIGKILL
            ("-n", limits.open_files),
            ("-f", limits.file_size_mb and limits.file_size_mb * MIB // blocks),
        )
        if value is not None
    ]
    if limits.processes is not None:  # bash calls it -u, dash -p
        lines.append(
            f"{{ ulimit -u {limits.processes} 2>/dev/null || ulimit -p {limits.processes}; }}"
        )
    if not lines:
        return spec.argv
    program = _found(spec)
    return ["/bin/sh", "-c", " && ".join([*lines, 'exec "$@"']), "sh", program, *spec.argv[1:]]


def _address_space(limits: Limits, unit: int) -> int | None:
    if limits.memory_mb is None or not limits.address_space:
        return None
    return limits.memory_mb * MIB // unit


def _found(spec: ProcessSpec) -> str:
    """Where the program is. The shell would only say 127, which a program may say too."""
    program = spec.argv[0]
    folders = [""] if "/" in program else spec.env.get("PATH", os.defpath).split(os.pathsep)
    paths = [Path(spec.working_dir, folder, program) for folder in folders]
    for path in paths:
        if path.is_file() and os.access(path, os.X_OK):
            return str(path)
    if any(path.exists() for path in paths):
        raise StartFailed("not_executable", f"'{program}' cannot be executed")
    raise StartFailed("program_missing", f"there is no program '{program}'")


def _start_failed(spec: ProcessSpec, error: OSError | ValueError) -> StartFailed:
    program = spec.argv[0]
    if isinstance(error, ValueError):  # a NUL inside an argument or a variable
        return StartFailed("invalid_arguments", f"cannot start '{program}': {error}")
    if not Path(spec.working_dir).is_dir():
        return StartFailed("working_dir_missing", f"there is no folder '{spec.working_dir}'")
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return StartFailed("program_missing", f"there is no program '{program}'")
        case errno.EACCES | errno.ENOEXEC | errno.EPERM | errno.EISDIR:
            return StartFailed(
                "not_executable", f"'{program}' cannot be executed: {error.strerror}"
            )
    return StartFailed("start_failed", f"cannot start '{program}': {error.strerror}")


def _await_exit(process: "subprocess.Popen[bytes]") -> "asyncio.Future[Exit]":
    loop = asyncio.get_running_loop()
    exited: asyncio.Future[Exit] = loop.create_future()
    try:
        handle = os.pidfd_open(process.pid)
    except (AttributeError, OSError):
        _await_in_thread(process, loop, exited)
        return exited

    def ended() -> None:
        loop.remove_reader(handle)
        os.close(handle)
        _settle(exited, _reap(process))

    loop.add_reader(handle, ended)
    return exited


def _await_in_thread(
    process: "subprocess.Popen[bytes]",
    loop: asyncio.AbstractEventLoop,
    exited: "asyncio.Future[Exit]",
) -> None:
    def wait() -> None:
        end = _reap(process)
        if not loop.is_closed():
            loop.call_soon_threadsafe(_settle, exited, end)

    threading.Thread(target=wait, name=f"wait-{process.pid}", daemon=True).start()


def _settle(exited: "asyncio.Future[Exit]", end: Exit) -> None:
    if not exited.done():
        exited.set_result(end)


def _reap(process: "subprocess.Popen[bytes]") -> Exit:
    """Take the exit status and what the process used; tells Popen, which would otherwise warn about a live child."""
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except ChildProcessError:
        process.returncode = -1
        return Exit(None, None)
    process.returncode = code = os.waitstatus_to_exitcode(status)
    cpu = usage.ru_utime + usage.ru_stime
    return Exit(None, -code, cpu) if code < 0 else Exit(code, None, cpu)
