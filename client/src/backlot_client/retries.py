"""Decides when a call is repeated, and when it gives up. Pure: time and chance are passed in."""

import msgspec


class Retries(msgspec.Struct, frozen=True, kw_only=True):
    """The limits within which a call is repeated after faults that pass: a lost connection, 429, 502, 503, 504.

    Every call may be repeated: reads change nothing, a submission has an idempotency key, a job ends only once.
    """

    #: Seconds since the first try; a pause that would end later is not begun. 0 means one try.
    total_s: float = 60.0
    #: Seconds before the second try, doubled for each one after it.
    first_s: float = 0.5
    #: The most seconds between two tries, unless the server asks for more.
    longest_s: float = 8.0

    def pause(self, tries: int, elapsed_s: float, retry_after_s: float | None, chance: float) -> float | None:
        """Return the seconds to wait before the next try, or None to give up.

        `tries` counts those made, from 1. `chance` is 0–1 and spreads clients that failed together: up to half of a
        doubling pause is left out, and up to a second is added to a pause that the server asked for.
        """
        if retry_after_s is None:
            doubled = self.first_s * 2.0 ** min(tries - 1, 16)
            wait = min(self.longest_s, doubled) * (1 - chance / 2)
        else:
            wait = retry_after_s + chance
        return wait if elapsed_s + wait <= self.total_s else None
