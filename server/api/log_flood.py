"""A bound on what a flood leaves in a log: the first few events of each minute are kept, the others counted."""

import time
from collections.abc import Callable

MINUTE_S = 60.0


class Sampler:
    """Counts events by the minute, and lets the first `most` of each minute through."""

    def __init__(self, most: int, tell: Callable[[int], None], clock: Callable[[], float] = time.monotonic) -> None:
        """Call `tell` after each minute in which events were held back, with their number."""
        self._most = most
        self._tell = tell
        self._clock = clock
        self._began = clock()
        self._count = 0

    def take(self) -> bool:
        """Count an event and return whether it is one of those to keep."""
        self.look()
        self._count += 1
        return self._count <= self._most

    def look(self) -> None:
        """Begin the next minute if it is time, and tell how many events were held back in the last one."""
        now = self._clock()
        if now - self._began < MINUTE_S:
            return
        held_back = self._count - self._most
        self._began, self._count = now, 0
        if held_back > 0:
            self._tell(held_back)
