"""The choice of what the engine does when memory runs out. Pure, and free of torch."""

from enum import Enum, auto


class Remedy(Enum):
    """The engine's remedy for memory that runs out in a slot group."""

    #: Evict the idle models, and run the same images again in as many slots.
    EVICT = auto()
    #: Run the same images again in half as many slots.
    HALVE = auto()
    #: Fail the images that are in slots.
    FAIL = auto()


def remedy(*, idle_models: int, batch_size: int, reproducible: bool) -> Remedy:
    """Choose what to do if memory runs out.

    Each remedy but the last can be repeated only a limited number of times: EVICT leaves no idle model, and none is loaded
    while the same images run; HALVE ends at 1. The batch size of a reproducible card is never halved: at another one it gives
    other bytes.
    """
    if idle_models:
        return Remedy.EVICT
    if batch_size > 1 and not reproducible:
        return Remedy.HALVE
    return Remedy.FAIL
