"""From a decoded image to its file: check it, measure it, write it, in a thread beside the denoiser.

Without torch: on a CPU that would keep a second team of OpenMP threads for this thread, and OpenMP, seeing more threads than
cores, lets them sleep at every barrier. The denoiser's steps then take 1.4 times as long.
"""

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from pipelines import protocol
from pipelines.output.defects import technical_finding
from pipelines.output.png import Pixels, write_png
from pipelines.protocol import Item
from pipelines.recipe import Recipe

log = logging.getLogger(__name__)

_FINDINGS = {
    "nan_latents": "its latents are not finite numbers",
    "nan_image": "its pixels are not finite numbers",
    "black_image": "it is black",
    "blank_image": "it is blank",
    "flat_image": "it is one flat colour",
}


class Picture(msgspec.Struct, frozen=True):
    """A decoded image."""

    item: Item
    pixels: Pixels
    #: `nan_latents` or `nan_image` where these were not numbers, which the pixels do not show.
    finding: str | None
    timings: dict[str, float]


class Finishing:
    """Takes images as they come and reports each as Imaged or Failed."""

    def __init__(self, report: Callable[[protocol.Report], None]) -> None:
        self._report = report
        self._thread = ThreadPoolExecutor(1, "finishing")

    def finish(self, picture: Picture, recipe: Recipe) -> None:
        """Put the image behind those that wait; returns at once."""
        self._thread.submit(self._finish, picture, recipe)

    def _finish(self, picture: Picture, recipe: Recipe) -> None:
        """Its own failure is its own alone."""
        started = time.perf_counter()
        item, pixels = picture.item, picture.pixels
        try:
            finding = picture.finding or technical_finding(pixels)
            if finding is not None and not item.deliver_flawed:
                message = f"The image cannot be used: {_FINDINGS[finding]}"
                self._report(protocol.Failed(item.job_id, finding, message, "image"))
                return
            evaluation = None
            if item.evaluate:
                self._report(protocol.Progress((item.job_id,), "evaluating"))
                # Imported where it is wanted: scikit-image would hold up the first image of every start.
                from pipelines.output.evaluation import evaluate

                evaluation = evaluate(pixels, item.colors)
            write_png(Path(item.path), pixels, recipe)
        except Exception as error:
            log.exception("The image of job %s could not be finished", item.job_id)
            message = f"The image could not be finished: {type(error).__name__}: {error}"
            self._report(protocol.Failed(item.job_id, "image_not_written", message, "machine"))
            return
        timings = {**picture.timings, "finishing_s": round(time.perf_counter() - started, 4)}
        self._report(protocol.Imaged(item.job_id, recipe, finding, evaluation, timings))
