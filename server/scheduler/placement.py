"""Decides whether a GPU should load a model that another GPU serves already. Pure.

A model that another GPU has in memory is left to that GPU, unless the images that wait for it would keep it busy for much
longer than a load takes. Then a second GPU is worth its load, and so on. So an image waits at most for a few loads.
"""

from collections.abc import Mapping

import msgspec

#: Load a model on one more GPU if its backlog would take at least this many times as long as the load. At 1 the last image
#: would be done at the same time either way, and a model that the GPU holds now might be evicted for nothing.
WORTH = 2.0


class Served(msgspec.Struct, frozen=True):
    """The present standing of one model with the GPUs."""

    #: How many GPUs have it in memory or are loading it.
    gpus: int
    #: Seconds that its waiting images would keep one GPU busy; None if that was never measured.
    backlog_s: float | None
    #: Seconds that its last load took; None if it was not loaded yet.
    load_s: float | None


def is_worth_a_load(served: Served, *, is_empty: bool) -> bool:
    """Return whether one more GPU should load the model; `is_empty` if it has none in memory yet."""
    if served.gpus == 0:
        return True
    if served.backlog_s is None or served.load_s is None:
        # The first images will tell what both take. Until then an empty GPU has nothing to lose.
        return is_empty
    return served.backlog_s / served.gpus >= WORTH * served.load_s


def left_to_others(models: Mapping[str, Served], *, is_empty: bool) -> frozenset[str]:
    """Return those of these models, which a GPU does not serve, that it leaves to the GPUs that do."""
    return frozenset(name for name, served in models.items() if not is_worth_a_load(served, is_empty=is_empty))
