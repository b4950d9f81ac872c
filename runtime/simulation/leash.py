"""Runs a command that ends when its parent does: ``python leash.py PARENT COMMAND...``. Needs nothing but Python.

The command takes this process's place, so it has the same number, and is asked and killed as if this were not here.
Where the system can't do that (only Linux can), the command is run all the same.
"""

import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def hold(parent: int) -> None:
    """Have the system kill this process when its parent dies."""
    if sys.platform != "linux":
        return
    import ctypes  # not at the top: it takes its time, and elsewhere it is not needed

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(-signal.SIGKILL % 256)  # the parent has died before it was asked for


if __name__ == "__main__":
    hold(int(sys.argv[1]))
    try:
        os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 (the very purpose)
    except OSError as error:
        sys.exit(f"{sys.argv[2]}: {error.strerror}")
