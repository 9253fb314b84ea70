"""The image writer: a thread beside the denoiser that checks, matches, measures and writes decoded images.

Nothing here may import torch: on a CPU torch would keep a second team of OpenMP threads for this thread. OpenMP would then
see more threads than cores and let them sleep at every barrier, which slows down every denoising step.
"""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import msgspec

from pipelines.colors import PaletteMode
from pipelines.failure_reason import FailureReason, Fault
from pipelines.output.defects import defect_of
from pipelines.output.png import Pixels, write_png
from pipelines.output.preview import Colors, write_preview
from pipelines.protocol import Failed, Generated, Item, Previewed, Report, Stage, StageReached, told
from pipelines.recipe import Recipe

log = logging.getLogger(__name__)

_DEFECTS = {
    FailureReason.NAN_LATENTS: "its latents are not finite numbers",
    FailureReason.NAN_IMAGE: "its pixels are not finite numbers",
    FailureReason.BLACK_IMAGE: "it is black",
    FailureReason.BLANK_IMAGE: "it is blank",
    FailureReason.FLAT_IMAGE: "it is one flat colour",
}


class Picture(msgspec.Struct, frozen=True):
    """A decoded image."""

    item: Item
    pixels: Pixels
    #: NAN_LATENTS or NAN_IMAGE if the latents or the image were not finite numbers, which the pixels do not show.
    defect: FailureReason | None
    #: Seconds by name, as in protocol.Generated.
    timings: dict[str, float]
    #: Whether the pipeline's safety checker made the picture black.
    blacked_out: bool = False
    #: Words of the prompt that the model's text encoder did not read.
    prompt_cut: str = ""


class ImageWriter:
    """Writes images in the order in which they come, and reports each as Generated or Failed."""

    def __init__(self, report: Callable[[Report], None]) -> None:
        self._report = report
        self._thread = ThreadPoolExecutor(1, "image-writer")
        #: Seconds that the last preview took to write.
        self.preview_seconds = 0.0

    def write(self, picture: Picture, recipe: Recipe) -> None:
        """Queue an image, and return at once."""
        self._thread.submit(self._write, picture, recipe).add_done_callback(_tell_error)

    def preview(self, item: Item, rgb: Colors, step: int, steps: int) -> None:
        """Queue a preview (height, width, 3; 0–1), and return at once. The thread reports Previewed once it is written."""
        if item.preview_path is not None:
            done = self._thread.submit(self._preview, item.image_id, Path(item.preview_path), rgb, step, steps)
            done.add_done_callback(_tell_error)

    def _preview(self, image_id: str, path: Path, rgb: Colors, step: int, steps: int) -> None:
        started = time.perf_counter()
        try:
            write_preview(path, rgb)
        except FileNotFoundError:
            # The job has ended since, and the server has removed its previews.
            return
        except OSError as error:
            # The image itself is not affected.
            log.warning("The preview %s could not be written: %s", path, error)
            return
        self._report(Previewed(image_id, step, steps))
        self.preview_seconds = time.perf_counter() - started

    def _write(self, picture: Picture, recipe: Recipe) -> None:
        started = time.perf_counter()
        item, pixels = picture.item, picture.pixels
        try:
            defect = picture.defect or defect_of(pixels)
            if defect is not None and not item.deliver_flawed:
                why = _DEFECTS[defect]
                if picture.blacked_out:
                    why = "the model's safety checker made it black; another seed or prompt may pass it"
                message = f"The image cannot be used: {why}"
                self._report(Failed(item.image_id, defect, message, Fault.IMAGE))
                return
            # These imports are here because scikit-image would delay the first image after every start.
            if item.palette is PaletteMode.MATCH and defect is None:
                from pipelines.output.palette import match

                pixels = match(pixels, item.colors)
            evaluation = None
            if item.evaluate:
                self._report(StageReached((item.image_id,), Stage.EVALUATING))
                from pipelines.output.measurement import evaluate

                evaluation = evaluate(pixels, item.colors)
            write_png(Path(item.path), pixels, recipe)
        except Exception as error:
            log.exception("Image %s could not be finished", item.image_id)
            message = told(f"The image could not be finished: {type(error).__name__}: {error}")
            self._report(Failed(item.image_id, FailureReason.IMAGE_NOT_WRITTEN, message, Fault.MACHINE))
            return
        timings = {**picture.timings, "finishing_s": round(time.perf_counter() - started, 4)}
        self._report(Generated(item.image_id, recipe, defect, evaluation, timings, picture.prompt_cut))


def _tell_error(done: Future[None]) -> None:
    """Log an error of the writer itself, which nobody waits for."""
    if (error := done.exception()) is not None:
        log.error("The image writer failed", exc_info=error)
