"""What ties a process to the one that started it."""

import ctypes
import os
import signal

#: https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html
_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Have the kernel kill this process as soon as the thread that started it has ended.

    A process that is stopped, or hangs in a driver's call, sees no end of a pipe; SIGKILL ends it all the same. A parent that
    ended before this call is noticed by the pipe alone. Raises OSError.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl(PR_SET_PDEATHSIG): {os.strerror(number)}")
