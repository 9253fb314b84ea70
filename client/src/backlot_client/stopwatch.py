"""Time that passes, also while the machine sleeps."""

import time


class Stopwatch:
    """Counts the seconds since it was made, by the clock that shows more of them.

    The monotonic clock may stand still while a laptop is suspended. An idempotency key expires all the same, so a call
    may not be repeated with it after a night's sleep.
    """

    def __init__(self) -> None:
        self._monotonic = time.monotonic()
        self._wall = time.time()

    def elapsed_s(self) -> float:
        return max(time.monotonic() - self._monotonic, time.time() - self._wall)
