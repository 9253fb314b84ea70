"""Make an image with a model at each batch size, in a GPU process of its own, and say what it takes."""

import asyncio
import math
from collections.abc import Callable
from pathlib import Path

import msgspec

from pipelines import protocol
from pipelines.failure_reason import FailureReason
from pipelines.model_card import ModelCard, Size
from server.models_file import Brand, Models
from server.operator.errors import CommandError
from server.operator.gpu_process import ask
from server.settings import Settings
from server.workflows import loras
from server.workflows.prompts import of_scene

#: Steps at each batch size, at least: enough to tell what a step takes.
_STEPS = 8


class SizeTried(msgspec.Struct, frozen=True, kw_only=True):
    """The measured cost of one batch size."""

    batch_size: int
    #: Seconds of a step of all its images; None if it was not measured, or does not fit into memory.
    seconds_per_step: float | None
    #: The most bytes of the device's memory, the weights included.
    peak_bytes: int | None


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """The cost of one image, and where it is."""

    name: str
    revision: str
    load_seconds: float
    width: int
    height: int
    steps: int
    image: str
    #: Seconds by name: denoising_s, decoding_s, finishing_s.
    timings: dict[str, float]
    defect: FailureReason | None
    sizes: list[SizeTried]


def try_model(settings: Settings, models: Models, card: ModelCard, tell: Callable[[str], None]) -> Trial:
    """Return what one of the models takes at its default size, and tell each part once it is known.

    Raises CommandError if it makes no image.
    """
    folder = settings.logs / "check"
    image = card.size(card.limits.tier, "1:1")
    applied = loras.resolve(card, Brand(), {}, models)
    prompt = of_scene(card, loras.with_words(Brand(), applied, models), "marble", "warm", [])
    rounds = math.ceil(_STEPS / card.sampling.steps)
    orders = [
        protocol.Generate(
            card,
            image.width,
            image.height,
            card.sampling.steps,
            card.sampling.guidance,
            size,
            protocol.Item(
                f"{size}-{number}",
                number,
                prompt.text,
                prompt.negative,
                str(folder / f"{card.name}-{size}-{number}.png"),
                brand_words=prompt.brand_words,
                deliver_flawed=True,
            ),
            loras=applied,
            second=image.second,
        )
        for size in card.limits.allowed_batch_sizes
        for number in range(size * rounds)
    ]
    answers = _Answers(card, image, orders, tell)
    asyncio.run(ask(settings, "check", orders, answers.take))
    return answers.trial()


class _Answers:
    """The reports of a GPU process about the images of a trial."""

    def __init__(
        self, card: ModelCard, size: Size, orders: list[protocol.Generate], tell: Callable[[str], None]
    ) -> None:
        self._card = card
        self._size = size
        self._steps = card.sampling.steps + (size.second.steps if size.second is not None else 0)
        self._tell = tell
        self._waiting = {order.item.image_id: order for order in orders}
        self._first = orders[0].item
        self._loaded: protocol.Loaded | None = None
        self._image: protocol.Generated | None = None
        self._measured: dict[int, SizeTried] = {}

    def take(self, report: protocol.Report) -> bool | None:
        """Note a report; return True once all images are there, else None. Raises CommandError if one cannot be made."""
        match report:
            case protocol.LoadFailed(message=message):
                raise CommandError(message)
            case protocol.Failed() | protocol.BatchFailed():
                raise CommandError(f"{report.reason}: {report.message}")
            case protocol.Loaded():
                self._loaded = report
                self._tell(f"{self._card.name} loads in {report.seconds:.1f} s, revision {report.revision}")
            case protocol.Measured():
                self._measured[report.batch_size] = SizeTried(
                    batch_size=report.batch_size,
                    seconds_per_step=report.seconds_per_step,
                    peak_bytes=report.peak_bytes,
                )
            case protocol.Generated(image_id=image_id):
                order = self._waiting.pop(image_id)
                if order.item is self._first:
                    self._image = report
                    self._tell_of_image(report)
                else:
                    # One image is enough to look at.
                    Path(order.item.path).unlink()
                if all(other.batch_size != order.batch_size for other in self._waiting.values()):
                    self._tell_of_size(order.batch_size)
        return None if self._waiting else True

    def _tell_of_image(self, image: protocol.Generated) -> None:
        seconds = sum(image.timings.values())
        size = f"{self._size.width} × {self._size.height}"
        self._tell(f"an image of {size} in {self._steps} steps takes {seconds:.1f} s: {self._first.path}")
        if image.defect is not None:
            self._tell(f"the image cannot be used: {image.defect}")

    def _tell_of_size(self, batch_size: int) -> None:
        size = self._measured.get(batch_size)
        images = "1 image" if batch_size == 1 else f"{batch_size} images"
        if size is None:
            self._tell(f"{images} at once: the time of a step is not known, since too few of the steps were alike")
            return
        if size.seconds_per_step is None:
            self._tell(f"{images} at once: does not fit into memory")
            return
        memory = "" if size.peak_bytes is None else f", {size.peak_bytes / 2**30:.1f} GiB of memory"
        self._tell(f"{images} at once: {size.seconds_per_step:.3f} s a step{memory}")

    def trial(self) -> Trial:
        """Return what the reports say together. Raises CommandError if one is missing."""
        if self._loaded is None or self._image is None:
            raise CommandError(f"the GPU process made images of {self._card.name} without a word of how")
        return Trial(
            name=self._card.name,
            revision=self._loaded.revision,
            load_seconds=self._loaded.seconds,
            width=self._size.width,
            height=self._size.height,
            steps=self._steps,
            image=self._first.path,
            timings=self._image.timings,
            defect=self._image.defect,
            sizes=[self._measured[size] for size in sorted(self._measured)],
        )
