"""From a decoded image to its file: check it, measure it, write it, in a thread beside the denoiser.

Without torch: on a CPU that would keep a second team of OpenMP threads for this thread, and OpenMP, seeing more threads than
cores, lets them sleep at every barrier. The denoiser's steps then take 1.4 times as long.
"""

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines import messages
from pipelines.images import write_png
from pipelines.messages import Recipe
from pipelines.technical import technical_finding

if TYPE_CHECKING:
    from pipelines.call import Denoised

log = logging.getLogger(__name__)

_FINDINGS = {
    "nan_latents": "its latents are not finite numbers",
    "nan_image": "its pixels are not finite numbers",
    "black_image": "it is black",
    "blank_image": "it is blank",
    "flat_image": "it is one flat colour",
}


class Finishing:
    """Takes images as they come and reports each as Imaged or Failed."""

    def __init__(self, report: Callable[[messages.Report], None]) -> None:
        self._report = report
        self._thread = ThreadPoolExecutor(1, "finishing")

    def finish(self, denoised: "Denoised", recipe: Recipe) -> None:
        """Put the image behind those that wait; returns at once."""
        self._thread.submit(self._finish, denoised, recipe)

    def _finish(self, denoised: "Denoised", recipe: Recipe) -> None:
        """Its own failure is its own alone."""
        started = time.perf_counter()
        item = denoised.item
        try:
            usable = bool(np.isfinite(denoised.image).all())
            scaled = np.nan_to_num(denoised.image).clip(0, 1).transpose(1, 2, 0) * np.float32(255)
            pixels = np.ascontiguousarray(scaled.round().astype(np.uint8))
            finding = "nan_latents" if not denoised.finite else "nan_image" if not usable else None
            finding = finding or technical_finding(pixels)
            if finding is not None and not item.deliver_flawed:
                message = f"The image cannot be used: {_FINDINGS[finding]}"
                self._report(messages.Failed(item.job_id, finding, message, "image"))
                return
            evaluation = None
            if item.evaluate:
                self._report(messages.Progress((item.job_id,), "evaluating"))
                # Imported where it is wanted: scikit-image would hold up the first image of every start.
                from pipelines.evaluate import evaluate

                evaluation = evaluate(pixels, item.colors)
            write_png(Path(item.path), pixels, recipe)
        except Exception as error:
            log.exception("The image of job %s could not be finished", item.job_id)
            message = f"The image could not be finished: {type(error).__name__}: {error}"
            self._report(messages.Failed(item.job_id, "image_not_written", message, "machine"))
            return
        timings = {**denoised.timings, "finishing_s": round(time.perf_counter() - started, 4)}
        self._report(messages.Imaged(item.job_id, recipe, finding, evaluation, timings))
