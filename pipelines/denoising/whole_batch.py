"""The whole batch: one stock pipeline call for all its images, for models that cannot run in slots."""

import copy
import time
from functools import partial
from typing import Any

import msgspec
import torch
from greenlet import GreenletExit, greenlet

from pipelines.denoising.batch import Denoised, Outcome, Stepped, Watch
from pipelines.denoising.cached_steps import enable_cache
from pipelines.denoising.call import CallSettings, run_call
from pipelines.denoising.copying import copy_with
from pipelines.denoising.coroutine import pause
from pipelines.denoising.forecast import forecast
from pipelines.denoising.second_pass import enlarge
from pipelines.denoising.steering import steers
from pipelines.protocol import Item
from pipelines.worker.loader import LoadedModel


class WholeBatch:
    """A Batch that no image enters after the first tick. It ends when all of its images have left or are decoded.

    The pipeline's call runs as a coroutine (a greenlet), so that `tick` returns after each step.
    """

    def __init__(self, model: LoadedModel, settings: CallSettings, batch_size: int, watch: Watch) -> None:
        self._model, self._settings, self._batch_size = model, settings, batch_size
        self._watch = watch
        self._items: list[Item] = []
        self._left: set[str] = set()
        self._call: greenlet | None = None
        self._seconds_per_step: float | None = None

    def __len__(self) -> int:
        return len(self._items) - len(self._left)

    @property
    def items(self) -> list[Item]:
        return [item for item in self._items if item.image_id not in self._left]

    @property
    def free(self) -> int:
        return 0 if self._call is not None else self._batch_size - len(self._items)

    @property
    def seconds_per_step(self) -> float | None:
        return self._seconds_per_step

    def enter(self, item: Item) -> None:
        self._items.append(item)

    def leave(self, image_id: str) -> bool:
        """Drop an image; return False if it is not in the batch. The call ends when its last image has left."""
        if image_id in self._left or all(item.image_id != image_id for item in self._items):
            return False
        if self._call is None:
            self._items = [item for item in self._items if item.image_id != image_id]
            return True
        self._left.add(image_id)
        if not len(self):
            self.clear()
        return True

    def clear(self) -> list[Item]:
        items = self.items
        call, self._call = self._call, None
        self._items, self._left = [], set()
        if call is not None and not call.dead:
            call.throw(GreenletExit)
        return items

    def tick(self) -> None:
        call = self._call = self._call or greenlet(self._generate)
        # In inference mode torch would multiply in another way with weights that offloading moves.
        with torch.no_grad():
            outcomes = call.switch()
        if not call.dead:
            return
        left = self._left
        self.clear()
        for outcome in outcomes:
            if outcome.item.image_id not in left:
                self._watch(outcome)

    def _generate(self) -> list[Denoised]:
        """Generate all images in the batch's coroutine: run the call, and then the second pass of each image in turn.

        Return an outcome for each image; images that left before their second pass have none.
        """
        items = list(self._items)
        # A short batch is padded with copies of its last item. Their images are thrown away, so they are not steered.
        padding = [msgspec.structs.replace(items[-1], seed=0, colors=())] * (self._batch_size - len(items))
        started = last_step = time.perf_counter()
        calls = 0
        finite = [True] * self._batch_size
        latents: torch.Tensor | None = None
        pipeline = self._copy() if any(map(steers, items)) else self._model.pipeline

        def after_call(call: int, step: int | None, now: torch.Tensor) -> None:
            nonlocal last_step, calls, latents
            if step == self._settings.steps:
                # This waits for the device, so that the time below is true.
                finite[:] = torch.isfinite(now).flatten(1).all(1).tolist()
            last_step, calls = time.perf_counter(), calls + 1
            before, latents = latents, now
            for row, item in enumerate(items):
                if step is not None and item.image_id not in self._left:
                    own = partial(forecast, pipeline.scheduler, call, _row(before, row), _row(now, row))
                    self._watch(Stepped(item, step, own))
            pause()

        enable_cache(pipeline, self._model.card.weights.cache, self._settings.steps)
        made = run_call(pipeline, self._model, self._settings.first, [*items, *padding], after_call)
        images = made.images[: len(items)].float().cpu()
        timings = {
            "denoising_s": round(last_step - started, 4),
            "decoding_s": round(time.perf_counter() - last_step, 4),
        }
        seconds = last_step - started
        first = [
            Denoised(item, image, good, _row(latents, row), timings, made_black)
            for row, (item, image, good, made_black) in enumerate(
                zip(items, images, finite, made.blacked_out, strict=False)
            )
        ]
        if self._settings.second is None:
            self._seconds_per_step = seconds / max(calls, 1)
            return first
        # The calls of a second pass take their steps in turns, and a cache remembers the steps of one call.
        enable_cache(pipeline, None, 0)
        enlarged = [self._enlarge(denoised) for denoised in first if denoised.item.image_id not in self._left]
        # In a full batch the second pass of every image would have taken as long.
        each = sum(denoised.timings["denoising_s"] - timings["denoising_s"] for denoised in enlarged)
        seconds += each / max(len(enlarged), 1) * self._batch_size
        self._seconds_per_step = seconds / self._settings.all_steps
        return enlarged

    def _enlarge(self, first: Denoised) -> Denoised:
        def watch(outcome: Outcome) -> None:
            if outcome.item.image_id not in self._left:
                self._watch(outcome)
            pause()

        return enlarge(
            self._model, self._settings, first, pipeline_of=self._copy, at_once=self._batch_size, watch=watch
        )

    def _copy(self) -> Any:
        """Return a copy of the pipeline with a scheduler of its own."""
        pipeline = self._model.pipeline
        return copy_with(pipeline, scheduler=copy.deepcopy(pipeline.scheduler))


def _row(latents: torch.Tensor | None, row: int) -> torch.Tensor | None:
    """Return the latents of one image of a batch, with a batch dimension of 1."""
    return None if latents is None else latents[row : row + 1]
