"""The options of `./scripts/bench gpu`."""

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from benchmarks.gpu.shapes import SHAPES

SIDES = {"1K": 1024, "0.5K": 512}
WAYS = ("eager", "tuned")
#: `--tiny` only tries the code, so it does little: with all its steps one image may take a CPU a minute.
_TINY = {"sizes": ("0.5K",), "batches": (1, 2), "images": 2, "requests": 2, "steps": 2}


class Options(msgspec.Struct, frozen=True):
    models: tuple[str, ...]
    sizes: tuple[str, ...]
    ways: tuple[str, ...]
    batches: tuple[int, ...]
    #: Images of a measurement, and requests of the Poisson trace.
    images: int
    requests: int
    #: None is each model's own number.
    steps: int | None
    device: str
    tiny: bool
    work: Path | None

    @property
    def dtype(self) -> str:
        return "float32" if self.tiny else "bfloat16"


def read_options(description: str) -> Options:
    """Return the options of the command line. If one is wrong, print that and exit."""
    parser = argparse.ArgumentParser(prog="./scripts/bench gpu", description=description)
    parser.add_argument("--models", type=_among(SHAPES), default=tuple(SHAPES), help="of " + ", ".join(SHAPES))
    parser.add_argument("--sizes", type=_among(SIDES), default=tuple(SIDES), help="of " + ", ".join(SIDES))
    parser.add_argument("--ways", type=_among(WAYS), default=WAYS, help="of " + ", ".join(WAYS))
    parser.add_argument("--batches", type=_numbers, default=(1, 2, 4), help="powers of two, tried by both sides")
    parser.add_argument("--images", type=int, default=16, help="of a measurement")
    parser.add_argument("--requests", type=int, default=40, help="of the Poisson load, at least 2")
    parser.add_argument("--steps", type=int, help="of an image, if not the model's own number")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--tiny", action="store_true", help="tiny models and few images, to try this on a CPU")
    parser.add_argument("--work", type=Path, help="where weights are written; else a folder that is removed")
    if parser.parse_known_args()[0].tiny:
        parser.set_defaults(**_TINY)
    return Options(**vars(parser.parse_args()))


def _among(known: Iterable[str]) -> Callable[[str], tuple[str, ...]]:
    """Return a function that reads names between commas, each of which must be known."""

    def read(text: str) -> tuple[str, ...]:
        names = tuple(text.split(","))
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"there is no {', '.join(unknown)}; there are {', '.join(known)}")
        return names

    return read


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(sorted(int(number) for number in text.split(",")))
