"""The running group: the batch that runs, the orders in its slots, and the reports about them."""

import itertools
import logging
import time
from collections.abc import Callable

import msgspec
import torch

from pipelines import protocol
from pipelines.denoising.batch import Batch, Denoised, ImageFailed, Outcome, Stepped
from pipelines.denoising.call import CallSettings
from pipelines.denoising.families import family_of
from pipelines.denoising.preview_times import PreviewTimes
from pipelines.denoising.prompt_limit import fit_prompt
from pipelines.denoising.slots import Slots
from pipelines.denoising.whole_batch import WholeBatch
from pipelines.failure_reason import FailureReason, Fault
from pipelines.lora import Lora
from pipelines.model_card import ModelCard
from pipelines.output.image_writer import ImageWriter, Picture
from pipelines.worker.cost_meter import CostMeter
from pipelines.worker.loader import LoadedModel
from pipelines.worker.recipes import Machine, recipe_of
from pipelines.worker.torch_errors import forget_frames, is_fatal, is_out_of_memory
from pipelines.worker.turns import computing

log = logging.getLogger(__name__)

#: Seconds between two reports of steps. The server commits each report to disk and wakes the clients that follow the jobs,
#: which on a CPU takes time from a small model's steps.
STEPS_REPORT_S = 0.25
#: The numbers of the steps that images take together, over all slot groups.
_calls = itertools.count(1)


class GroupKey(msgspec.Struct, frozen=True):
    """Orders with equal keys share a slot group, unless one of them is isolated."""

    card: ModelCard
    settings: CallSettings
    batch_size: int
    loras: tuple[Lora, ...] = ()
    #: The result of families.keeps_negatives_apart for the order, as in the server's BatchKey.
    negative: bool = False


class _WrongSize(Exception):
    """A pipeline made a picture of another size than the ordered one, which would make its recipe untrue."""

    def __init__(self, key: GroupKey, width: int, height: int) -> None:
        super().__init__(
            f"{key.card.name} made {width} × {height} instead of {key.settings.width} × {key.settings.height};"
            " correct its multiple_of"
        )


class RunningGroup:
    """The current slot group, with one batch for as long as it is open."""

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
        #: The words of each image's prompt that the text encoder does not read.
        self._cut: dict[str, str] = {}
        #: Steps that were not reported yet, and the time of the last report of steps.
        self._steps: list[protocol.Step] = []
        self._steps_reported = 0.0
        #: The number of the present step.
        self._call = 0
        self._previews = PreviewTimes(key.card.execution.preview)
        #: Seconds that the last preview took to make, but not to write.
        self._preview_seconds = 0.0
        if key.card.execution.preview != "off":
            self._prime_colors()
        self.cost = CostMeter(model, key.settings, key.batch_size, machine.device)
        self._batch: Batch
        family = family_of(model.pipeline) if key.card.takes_slots else None
        if family is None:
            self._batch = WholeBatch(model, key.settings, key.batch_size, self._on_outcome)
        else:
            self._batch = Slots(model, family, key.settings, key.batch_size, self._on_outcome)

    def _prime_colors(self) -> None:
        try:
            with computing(), torch.no_grad():
                self.model.colors.prime(self.model.pipeline, self._machine.device)
        except Exception as error:
            if is_fatal(error):
                raise
            # The map of colours is also fitted to the first finished images.
            log.warning("%s has no previews before its first image: %s", self.key.card.name, error)
            forget_frames(error)

    def __len__(self) -> int:
        """Return the number of images in slots."""
        return len(self._batch)

    def described(self) -> str:
        """Return the model and the images in slots, for a log."""
        return f"{self.key.card.name}, images {', '.join(item.image_id for item in self._batch.items)}"

    def takes(self, order: protocol.Generate, key: GroupKey) -> bool:
        """Return whether an order of this key may enter, now or once a slot is free."""
        return key == self.key and not self._isolated and not order.isolated

    @property
    def free(self) -> int:
        """Return how many images may enter now."""
        return self._batch.free

    def enter(self, order: protocol.Generate) -> None:
        """Put an image into a free slot; report it as failed if its prompt cannot be split into tokens."""
        item, sampling = order.item, self.key.card.sampling
        try:
            fitted = fit_prompt(self.model.pipeline, sampling.arguments, item.prompt, item.brand_words)
        except Exception as error:
            log.exception("The prompt of image %s cannot be split into tokens by %s", item.image_id, self.key.card.name)
            self._fail(item, error)
            return
        if fitted.cut:
            log.warning("Image %s: %s does not read %r of its prompt", item.image_id, self.key.card.name, fitted.cut)
        self._orders[item.image_id], self._cut[item.image_id] = order, fitted.cut
        self._batch.enter(msgspec.structs.replace(item, prompt=fitted.prompt))

    def leave(self, image_id: str) -> bool:
        """Drop an image from its slot; return False if it is in none."""
        self._forget(image_id)
        # The image may run again on another GPU before these steps would be reported.
        self._steps = [step for step in self._steps if step.image_id != image_id]
        return self._batch.leave(image_id)

    def tick(self) -> None:
        """Do the next denoising step, and report its results. Raises what the denoiser raises; clear the group then."""
        self._call = next(_calls)
        self._batch.tick()
        if time.monotonic() - self._steps_reported >= STEPS_REPORT_S:
            self._report_steps()
        if (measured := self.cost.news(self._batch.seconds_per_step)) is not None:
            self._report(measured)

    def clear(self) -> list[protocol.Generate]:
        """Drop every image; return their orders, in the order in which they entered."""
        self._report_steps()
        lost = [self._orders[item.image_id] for item in self._batch.clear()]
        for order in lost:
            self._forget(order.item.image_id)
        return lost

    def _forget(self, image_id: str) -> None:
        """Forget an image that is in no slot any more, since the group may stay open for months."""
        self._orders.pop(image_id, None)
        self._cut.pop(image_id, None)
        self._previews.forget(image_id)

    def _on_outcome(self, outcome: Outcome) -> None:
        match outcome:
            case Stepped(item=item, step=step, forecast=forecast):
                self._steps.append(protocol.Step(item.image_id, step, time.time(), self._call))
                self._show(item, step, forecast)
                if step >= self.key.settings.all_steps:
                    self._report_steps()
                    self._report(protocol.StageReached((item.image_id,), protocol.Stage.DECODING))
            case Denoised(item=item):
                self._report_steps()
                self.cost.note_decoded()
                self._hand_over(outcome)
                self._forget(item.image_id)
            case ImageFailed(item=item, error=error):
                log.error("Image %s of %s failed", item.image_id, self.key.card.name, exc_info=error)
                forget_frames(error)
                self.model.restore()
                self._report_steps()
                self._fail(item, error)
                self._forget(item.image_id)

    def _show(self, item: protocol.Item, step: int, forecast: Callable[[], torch.Tensor | None]) -> None:
        """Give a preview of an image to the writer, if one is due and a picture can be made of the latents."""
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
            picture = _picture(denoised, self._cut[denoised.item.image_id])
        except Exception as error:
            log.exception("Image %s could not be taken from its slot", denoised.item.image_id)
            self._fail(denoised.item, error)
            return
        self._report(protocol.LeftSlot(denoised.item.image_id))
        recipe = recipe_of(denoised.item, self.model, self.key.settings, self.key.batch_size, self._machine)
        self._writer.write(picture, recipe)
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


def _picture(denoised: Denoised, prompt_cut: str) -> Picture:
    """Return the image in 8 bits, rounded as by diffusers' `numpy_to_pil`, with the defect that only its floats show."""
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
