"""Batches without slots: one stock pipeline call for all images that entered, for pipelines that slots do not know."""

import time
from typing import Any

import msgspec
import torch

from pipelines.denoising.call import Denoised, Size, Stepped, Watch, call_arguments, steps_done
from pipelines.protocol import Item
from pipelines.worker.loader import LoadedModel


class _AllLeft(Exception):
    """Nobody waits for any image of the batch any longer."""


class WholeBatch:
    """The same interface as `Slots`, but `tick` runs the whole call: nothing enters a batch that has begun."""

    def __init__(self, model: LoadedModel, size: Size, shape: int, watch: Watch) -> None:
        self.model, self.size, self.shape = model, size, shape
        self.seconds_per_step: float | None = None
        self._watch = watch
        self._items: list[Item] = []
        self._left: set[str] = set()
        self._begun = False

    def __len__(self) -> int:
        return len(self._items)

    @property
    def free(self) -> int:
        return 0 if self._begun else self.shape - len(self._items)

    def enter(self, item: Item) -> None:
        assert self.free > 0, "no place is free"  # noqa: S101  the caller counts
        self._items.append(item)

    def leave(self, job_id: str) -> bool:
        """Drop an image; False where it is not here. Once the call has begun it ends when all have left."""
        if self._begun:
            found = any(item.job_id == job_id for item in self._items) and job_id not in self._left
            if found:
                self._left.add(job_id)
            return found
        before = len(self._items)
        self._items = [item for item in self._items if item.job_id != job_id]
        return len(self._items) < before

    def clear(self) -> list[Item]:
        """Drop every image; which they were."""
        items = [item for item in self._items if item.job_id not in self._left]
        self._items, self._left, self._begun = [], set(), False
        return items

    def tick(self) -> None:
        """The whole call. Raises what the pipeline raises; then every image here is lost."""
        self._begun = True
        items = list(self._items)
        # A short batch is padded with copies of its last item, whose images are thrown away.
        padding = [msgspec.structs.replace(items[-1], seed=0)] * (self.shape - len(items))
        started = time.perf_counter()
        marks: list[float] = []
        finite = [True] * self.shape

        def after_call(pipeline: Any, call: int, _: Any, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            done = steps_done(pipeline, call, self.size.steps)
            if done == self.size.steps:
                # This waits for the device, so that the time is true.
                finite[:] = torch.isfinite(tensors["latents"]).flatten(1).all(1).tolist()
            marks.append(time.perf_counter())
            for item in items:
                if done is not None and item.job_id not in self._left:
                    self._watch(Stepped(item, done))
            if len(self._left) == len(items):
                raise _AllLeft
            return tensors

        try:
            with torch.inference_mode():
                output = self.model.pipeline(
                    **call_arguments(self.model, self.size, [*items, *padding]), callback_on_step_end=after_call
                )
                images = output.images[: len(items)].float().cpu()
        except _AllLeft:
            self.clear()
            return
        last_step = marks[-1] if marks else time.perf_counter()
        timings = {
            "denoising_s": round(last_step - started, 4),
            "decoding_s": round(time.perf_counter() - last_step, 4),
        }
        self.seconds_per_step = (last_step - started) / max(len(marks), 1)
        left = self._left
        self.clear()
        for item, image, good in zip(items, images, finite, strict=False):
            if item.job_id not in left:
                self._watch(Denoised(item, image, good, timings))
