"""Make an image with a model at each batch size, in a GPU process of its own, and say what it takes."""

import asyncio
import math
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

#: So many steps at each batch size tell what a step takes.
_STEPS = 8


class SizeTried(msgspec.Struct, frozen=True, kw_only=True):
    """What one batch size takes."""

    batch_size: int
    #: Seconds of a step of all its images; None if it was not measured, or does not fit into memory.
    seconds_per_step: float | None
    #: The most bytes of the device's memory, the weights included.
    peak_bytes: int | None


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What one image takes, and where it is."""

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

    def told(self) -> str:
        """Return all of it for people."""
        seconds = sum(self.timings.values())
        lines = [
            f"{self.name} loads in {self.load_seconds:.1f} s, revision {self.revision}",
            f"an image of {self.width} × {self.height} in {self.steps} steps takes {seconds:.1f} s: {self.image}",
        ]
        if self.defect is not None:
            lines.append(f"the image cannot be used: {self.defect}")
        for size in self.sizes:
            images = "1 image" if size.batch_size == 1 else f"{size.batch_size} images"
            if size.seconds_per_step is None:
                lines.append(f"{images} at once: does not fit into memory")
                continue
            memory = "" if size.peak_bytes is None else f", {size.peak_bytes / 2**30:.1f} GiB of memory"
            lines.append(f"{images} at once: {size.seconds_per_step:.3f} s a step{memory}")
        return "\n".join(lines)


def try_model(settings: Settings, models: Models, card: ModelCard) -> Trial:
    """Return what one of the models takes at its default size. Raises CommandError if it makes no image."""
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
    answers = _Answers(card, orders)
    asyncio.run(ask(settings, "check", orders, answers.take))
    return answers.trial(image)


class _Answers:
    """What a GPU process reports of the images of a trial."""

    def __init__(self, card: ModelCard, orders: list[protocol.Generate]) -> None:
        self._card = card
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
                else:
                    # One image is enough to look at.
                    Path(order.item.path).unlink()
        return None if self._waiting else True

    def trial(self, size: Size) -> Trial:
        """Return what all of it says. Raises CommandError if something is lacking."""
        if self._loaded is None or self._image is None:
            raise CommandError(f"the GPU process made images of {self._card.name} without a word of how")
        return Trial(
            name=self._card.name,
            revision=self._loaded.revision,
            load_seconds=self._loaded.seconds,
            width=size.width,
            height=size.height,
            steps=self._card.sampling.steps + (size.second.steps if size.second is not None else 0),
            image=self._first.path,
            timings=self._image.timings,
            defect=self._image.defect,
            sizes=[self._measured[size] for size in sorted(self._measured)],
        )
