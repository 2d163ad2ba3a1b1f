"""Become another program that dies with its parent: `python launch.py PARENT_PID SIGNAL program args…`.

`PR_SET_PDEATHSIG` survives exec, so that even after `kill -9` of the sandbox the kernel ends its parts. It is set here
and not in `preexec_fn`, which is unsafe in a process with threads. Elsewhere than on Linux there is no such call, and
the program is simply started.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, signal_number, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal_number))
        if os.getppid() != int(parent):
            return  # the parent died before the call
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
