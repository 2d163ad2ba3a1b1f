"""Four promises that only the Linux kernel can give; elsewhere each returns False and changes nothing."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38


def become_subreaper() -> bool:
    """Orphans among our descendants become our children instead of init's, so that none gets away."""
    return _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int) -> bool:
    """SIGKILL for this process when its parent dies; at once when `parent` has died already."""
    done = _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
    return done


def hide_memory() -> bool:
    """Keep other processes of this user out of our memory and environment; programs that we start are not affected."""
    return _prctl(_PR_SET_DUMPABLE, 0)


def gain_no_privileges() -> bool:
    """From now on no program that this process or what comes from it starts gets more rights than its starter had."""
    return _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def _prctl(option: int, value: int) -> bool:
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) == 0)
