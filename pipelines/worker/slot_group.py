"""The open slot group: the batch that runs, the orders in its slots, and what the server is told of them."""

import itertools
import logging
import time
from collections.abc import Callable
from functools import cache
from importlib.metadata import version

import msgspec
import torch

from pipelines import protocol
from pipelines.colors import PaletteMode, hex_color
from pipelines.denoising.batch import Batch, Denoised, ImageFailed, Outcome, Stepped
from pipelines.denoising.call import CallSettings
from pipelines.denoising.families import family_of
from pipelines.denoising.preview_times import PreviewTimes
from pipelines.denoising.prompt_limit import fit_prompt
from pipelines.denoising.slots import Slots
from pipelines.denoising.whole_batch import WholeBatch
from pipelines.failure_reason import FailureReason, Fault
from pipelines.lora import Lora
from pipelines.model_card import ModelCard, cost_digest, settings_digest
from pipelines.output.image_writer import ImageWriter, Picture
from pipelines.recipe import Recipe
from pipelines.worker.device_memory import forget_peak, peak_bytes
from pipelines.worker.loader import LoadedModel
from pipelines.worker.torch_errors import forget_frames, is_fatal, is_out_of_memory

log = logging.getLogger(__name__)

#: Seconds between reports of steps. The server commits each report to disk and wakes who follows the jobs, which on a CPU
#: takes nearly a tenth of the time of a small model's step.
STEPS_REPORT_S = 0.25
#: Report a step's cost again if it is off by more than this part of what the server was told.
COST_CHANGE = 0.1
#: Numbers the steps that images take together, over all slot groups.
_calls = itertools.count(1)


class Machine(msgspec.Struct, frozen=True):
    """What a recipe says of the place where its image was made."""

    device: torch.device
    device_name: str
    #: Versions of the libraries that decide bits, by name.
    versions: dict[str, str]


class GroupKey(msgspec.Struct, frozen=True):
    """Orders with equal keys share a slot group, unless one of them is isolated."""

    card: ModelCard
    settings: CallSettings
    batch_size: int
    loras: tuple[Lora, ...] = ()


class _WrongSize(Exception):
    """A pipeline made a picture of another size than it was asked for; to keep it would make its recipe untrue."""

    def __init__(self, key: GroupKey, width: int, height: int) -> None:
        super().__init__(
            f"{key.card.name} made {width} × {height} instead of {key.settings.width} × {key.settings.height};"
            " correct its multiple_of"
        )


class SlotGroup:
    """An open slot group. Its batch lives as long as it does."""

    def __init__(
        self,
        key: GroupKey,
        model: LoadedModel,
        machine: Machine,
        writer: ImageWriter,
        report: Callable[[protocol.Report], None],
        *,
        isolated: bool,
    ) -> None:
        self.key, self.model = key, model
        self._machine, self._writer, self._report = machine, writer, report
        self._isolated = isolated
        self._orders: dict[str, protocol.Generate] = {}
        #: The words of each image's prompt that are not read.
        self._cut: dict[str, str] = {}
        #: Steps that the server has not been told of, and when it last was told of some.
        self._steps: list[protocol.Step] = []
        self._steps_reported = 0.0
        #: The number of the present denoiser step, and the images that took it.
        self._call = 0
        self._stepped: set[str] = set()
        self._previews = PreviewTimes(key.card.execution.preview)
        #: What the last preview took, without its writing.
        self._preview_seconds = 0.0
        #: The seconds a step that the server was last told.
        self._seconds_reported: float | None = None
        #: The same of the memory that its images took, once one was decoded.
        self._working_reported: int | None = None
        self._has_decoded = False
        #: Something else took memory in the meantime, so the peak does not tell what its images took.
        self._memory_is_shared = False
        if key.card.execution.preview != "off":
            self._prime_colors()
        forget_peak(machine.device)
        self._held = peak_bytes(machine.device)
        self._batch: Batch
        family = family_of(model.pipeline) if key.card.takes_slots else None
        if family is None:
            self._batch = WholeBatch(model, key.settings, key.batch_size, self._on_outcome)
        else:
            self._batch = Slots(model, family, key.settings, key.batch_size, self._on_outcome)

    def _prime_colors(self) -> None:
        try:
            with torch.inference_mode():
                self.model.colors.prime(self.model.pipeline, self._machine.device)
        except Exception as error:
            if is_fatal(error):
                raise
            # Its first images show their colours too.
            log.warning("%s has no previews before its first image: %s", self.key.card.name, error)
            forget_frames(error)

    def __len__(self) -> int:
        """Return the number of images in slots."""
        return len(self._batch)

    def described(self) -> str:
        """Return the model and the images in slots, for a log."""
        return f"{self.key.card.name}, images {', '.join(item.image_id for item in self._batch.items)}"

    def takes(self, order: protocol.Generate, key: GroupKey) -> bool:
        """Whether an order of this key may enter, now or once a slot is free."""
        return key == self.key and not self._isolated and not order.isolated

    @property
    def free(self) -> int:
        """How many images may enter now."""
        return self._batch.free

    def enter(self, order: protocol.Generate) -> None:
        """Put an image into a free slot; report it as failed if its prompt cannot be split into tokens."""
        item, sampling = order.item, self.key.card.sampling
        self._orders[item.image_id] = order
        try:
            fitted = fit_prompt(self.model.pipeline, sampling.arguments, item.prompt, item.brand_words)
        except Exception as error:
            log.exception("The prompt of image %s cannot be split into tokens by %s", item.image_id, self.key.card.name)
            self._fail(item, error)
            return
        if fitted.cut:
            log.warning("Image %s: %s does not read %r of its prompt", item.image_id, self.key.card.name, fitted.cut)
        self._cut[item.image_id] = fitted.cut
        self._batch.enter(msgspec.structs.replace(item, prompt=fitted.prompt))

    def leave(self, image_id: str) -> bool:
        """Drop an image from its slot; return False if it is in none."""
        self._previews.forget(image_id)
        return self._batch.leave(image_id)

    def tick(self) -> None:
        """Do the next denoising step, and report what came of it. Raises what the denoiser raises; then clear it."""
        self._next_call()
        self._batch.tick()
        if time.monotonic() - self._steps_reported >= STEPS_REPORT_S:
            self._report_steps()
        self._report_cost()

    def _next_call(self) -> None:
        self._call, self._stepped = next(_calls), set()

    def clear(self) -> list[protocol.Generate]:
        """Drop every image; return their orders, in the order in which they entered."""
        self._report_steps()
        return [self._orders[item.image_id] for item in self._batch.clear()]

    def _on_outcome(self, outcome: Outcome) -> None:
        match outcome:
            case Stepped(item=item, step=step, forecast=forecast):
                if item.image_id in self._stepped:
                    # A whole batch takes all of its steps in one tick.
                    self._next_call()
                self._stepped.add(item.image_id)
                self._steps.append(protocol.Step(item.image_id, step, time.time(), self._call))
                self._show(item, step, forecast)
                if step >= self.key.settings.all_steps:
                    self._report_steps()
                    self._report(protocol.StageReached((item.image_id,), protocol.Stage.DECODING))
            case Denoised():
                self._report_steps()
                self._has_decoded = True
                self._hand_over(outcome)
            case ImageFailed(item=item, error=error):
                log.error("Image %s of %s failed", item.image_id, self.key.card.name, exc_info=error)
                forget_frames(error)
                self.model.restore()
                self._report_steps()
                self._fail(item, error)

    def _show(self, item: protocol.Item, step: int, forecast: Callable[[], torch.Tensor | None]) -> None:
        """Give a preview of an image to the writer, if one is due and something can be seen."""
        settings, seconds = self.key.settings, self._preview_seconds + self._writer.preview_seconds
        if item.preview_path is None or not self._previews.due(
            item.image_id, step, settings.all_steps, len(self._batch), seconds
        ):
            return
        started = time.perf_counter()
        latents = forecast()
        if latents is None:
            return
        self._previews.show(item.image_id)
        rgb = self.model.colors.picture(latents, settings.width, settings.height)
        if rgb is not None:
            self._writer.preview(item, rgb.numpy(), step, settings.all_steps)
        self._preview_seconds = time.perf_counter() - started

    def _hand_over(self, denoised: Denoised) -> None:
        """Give a decoded image to the writer."""
        height, width = denoised.image.shape[-2:]
        if (width, height) != (self.key.settings.width, self.key.settings.height):
            self._fail(denoised.item, _WrongSize(self.key, width, height))
            return
        try:
            picture = _picture(denoised, self._cut.get(denoised.item.image_id, ""))
        except Exception as error:
            log.exception("Image %s could not be taken from its slot", denoised.item.image_id)
            self._fail(denoised.item, error)
            return
        self._report(protocol.LeftSlot(denoised.item.image_id))
        self._previews.forget(denoised.item.image_id)
        self._writer.write(picture, self._recipe(denoised.item))
        if self.key.card.execution.preview != "off" and denoised.latents is not None and not denoised.blacked_out:
            self.model.colors.learn(denoised.latents, denoised.image)

    def _fail(self, item: protocol.Item, error: Exception) -> None:
        reason = FailureReason.OUT_OF_MEMORY if is_out_of_memory(error) else FailureReason.PIPELINE_ERROR
        message = protocol.told(f"{type(error).__name__}: {error}")
        self._report(protocol.Failed(item.image_id, reason, message, Fault.MACHINE))

    def _report_steps(self) -> None:
        if self._steps:
            self._report(protocol.Steps(tuple(self._steps), self.key.settings.all_steps))
            self._steps, self._steps_reported = [], time.monotonic()

    def share_memory(self) -> None:
        """Note that something else takes memory from now on."""
        self._memory_is_shared = True

    def _report_cost(self) -> None:
        """Report what a step costs, if that is known and news."""
        seconds = self._batch.seconds_per_step
        if seconds is None:
            return
        peak = peak_bytes(self._machine.device)
        working = peak - self._held if self._has_decoded and not self._memory_is_shared else None
        if not _is_news(seconds, self._seconds_reported) and not _is_news(working, self._working_reported):
            return
        self._seconds_reported, self._working_reported = seconds, working
        self._report(self.measured(seconds, peak, working))

    def measured(
        self, seconds_per_step: float | None, peak: int | None, working: int | None = None
    ) -> protocol.Measured:
        """Return the report of what a step of this group costs; None and None if the group does not fit into memory."""
        return protocol.Measured(
            self.key.card.name,
            cost_revision(self.model),
            self.key.settings.width,
            self.key.settings.height,
            self.key.batch_size,
            seconds_per_step,
            peak,
            working,
        )

    def _recipe(self, item: protocol.Item) -> Recipe:
        card, settings, pipeline = self.key.card, self.key.settings, self.model.pipeline
        moved = item.palette is not PaletteMode.PROMPT
        return Recipe(
            model=card.name,
            revision=self.model.revision,
            pipeline=type(pipeline).__name__,
            prompt=item.prompt,
            negative_prompt=item.negative_prompt,
            seed=item.seed,
            width=settings.width,
            height=settings.height,
            steps=settings.steps,
            guidance=settings.guidance,
            scheduler=type(pipeline.scheduler).__name__,
            dtype=card.weights.dtype,
            settings=settings_digest(card),
            batch_size=self.key.batch_size,
            device=self._machine.device.type,
            device_name=self._machine.device_name,
            versions={
                **self._machine.versions,
                **({"pillow": version("pillow")} if settings.second is not None else {}),
                **(_versions_that_move_colors() if moved else {}),
            },
            loras=self.model.applied,
            palette=item.palette,
            colors=tuple(map(hex_color, item.colors)) if moved else (),
            upscale=settings.second,
        )


def _is_news(found: float | None, reported: float | None) -> bool:
    """Return whether a cost is off by more than COST_CHANGE from what was reported."""
    if found is None or reported is None:
        return found is not None
    return abs(found - reported) > COST_CHANGE * reported


def cost_revision(model: LoadedModel) -> str:
    """Return what tells one cost of a step from another: the weights, and how the card says to run them."""
    return f"{model.revision} {cost_digest(model.card)}"


@cache
def _versions_that_move_colors() -> dict[str, str]:
    """Return the versions of the libraries that the colours of a steered or matched image depend on."""
    return {name: version(name) for name in ("numpy", "pillow", "scikit-image", "scipy")}


def _picture(denoised: Denoised, prompt_cut: str) -> Picture:
    """Return the image in 8 bits, rounded as diffusers' own `numpy_to_pil` does, with the defect that hides in its floats."""
    image = denoised.image
    defect = None if torch.isfinite(image).all() else FailureReason.NAN_IMAGE
    pixels = (image.nan_to_num().clamp(0, 1).permute(1, 2, 0) * 255).round().to(torch.uint8).contiguous().numpy()
    return Picture(
        denoised.item,
        pixels,
        defect if denoised.finite else FailureReason.NAN_LATENTS,
        denoised.timings,
        denoised.blacked_out,
        prompt_cut,
    )
