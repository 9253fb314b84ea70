"""Decides when a delivery that failed is tried again: ten tries over about a day, each wait 3.23 times the one before.

With 5 s first, the nine waits are 5 s, 16 s, 52 s, 2.8 min, 9 min, 29 min, 1.6 h, 5.1 h and 16.5 h: 23.8 h in all.
"""

TRIES = 10
FIRST_WAIT_S = 5.0
GROWTH = 3.23
#: A wait is longer or shorter by up to this share, so that the deliveries of one outage do not come back all at once.
JITTER = 0.1


def wait_s(tries: int, chance: float) -> float | None:
    """Return the seconds from a failed try to the next one; None if it was the last.

    `tries` counts this one; `chance` in 0 ≤ x < 1 places the wait within its jitter.
    """
    if tries >= TRIES:
        return None
    return FIRST_WAIT_S * GROWTH ** (tries - 1) * (1 + JITTER * (2 * chance - 1))
