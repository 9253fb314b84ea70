"""What the engine does when memory runs out. Pure, and free of torch."""

from enum import Enum, auto


class Remedy(Enum):
    """What is done about an error of memory in a slot group."""

    #: Evict the idle models, and run the same images again in as many slots.
    EVICT = auto()
    #: Run the same images again in half as many slots.
    HALVE = auto()
    #: Fail the images that are in slots.
    FAIL = auto()


def remedy(*, idle_models: int, batch_size: int, reproducible: bool) -> Remedy:
    """Choose what to do about an error of memory.

    Each remedy but the last can be repeated only a bounded number of times: evicting leaves no idle model behind, and none
    is loaded while the same images run; halving ends at 1. A reproducible card gives other bytes at another batch size, so
    its batch size is never halved.
    """
    if idle_models:
        return Remedy.EVICT
    if batch_size > 1 and not reproducible:
        return Remedy.HALVE
    return Remedy.FAIL
