"""The scheduler's bounds on time and number, in one place, so that a test or a small box can set others."""

import msgspec

from server.downloading import SILENCE_S


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """Times are in seconds. A model's own limits, for a step and for its load, are on its card."""

    #: The longest that a GPU process may take to import torch and find its device.
    start_s: float = 300.0
    #: The longest that an image may take from its slot to the disk.
    write_s: float = 300.0
    #: The longest that writes to the ledger may hold up a stop. A job whose end is not written by then runs again after the
    #: next start.
    stop_s: float = 20.0
    #: The pause before the server starts another GPU process after the second crash in a row; doubled for each further crash.
    #: After the first crash there is none.
    restart_s: float = 1.0
    #: The longest pause before the server starts another GPU process.
    restart_most_s: float = 60.0
    #: A model that a device may not run is tried there again after this time.
    refused_s: float = 60.0
    #: A model that a device could not load, or a batch key for which it had too little memory, is tried there again after
    #: this time if another device may run it.
    left_to_others_s: float = 600.0
    #: Images that may be in one GPU process at once, those being written included.
    in_flight: int = 256
    #: Crashes of GPU processes that an image may be present at before it answers for them, even if it was never a suspect.
    #: After so many in a row on a device, that device is no longer expected back, so its images go to others.
    crashes: int = 5
    #: Tries in a row to load or download a model after which the images that wait for it fail.
    load_tries: int = 3
    #: The pauses before the second try, the third, and so on; the last one stays.
    load_pauses_s: tuple[float, ...] = (5.0, 20.0, 60.0)
    #: A download from which nothing arrives for this time is ended; the next try goes on where it was cut off.
    silence_s: float = SILENCE_S
    #: The pause between two events that tell waiting jobs how far a download is.
    told_every_s: float = 10.0


DEFAULT_BOUNDS = Bounds()
