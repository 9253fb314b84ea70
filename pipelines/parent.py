"""The tie of a process to the one that started it."""

import ctypes
import os
import signal

#: https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html
_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Have the kernel kill this process as soon as the thread that started it has ended.

    A process that is stopped, or hangs in a driver's call, does not notice that its pipe has closed; SIGKILL ends it all the
    same. If the parent ended before this call, only the pipe tells. Raises OSError.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl(PR_SET_PDEATHSIG): {os.strerror(number)}")
