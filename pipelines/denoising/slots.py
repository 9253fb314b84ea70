"""Slots: a batch of fixed size in which each image is at a denoising step of its own.

Each slot runs the stock pipeline call for one image as a coroutine (a greenlet). When the pipeline calls its denoiser, the
coroutine pauses. Once all slots have paused, their calls are joined, the denoiser runs once, and each coroutine goes on
with its own part of the result. So schedulers, guidance, prompt encoding and decoding are diffusers' own code for every
family. Each slot has a scheduler and a timestep of its own, and a new image enters at the next step after a slot became
free. Calls of text encoders are joined in the same way (see `encoding`).

At a fixed batch size an image depends neither on its neighbours nor on when they entered (see `joining`).
"""

import copy
import time
from collections import Counter
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

import torch
from greenlet import GreenletExit, greenlet

from pipelines.denoising.batch import Denoised, ImageFailed, Stepped, Watch
from pipelines.denoising.call import CallSettings, run_call
from pipelines.denoising.copying import copy_with
from pipelines.denoising.coroutine import pause
from pipelines.denoising.encoding import EncoderCall, JointEncoders, TextEncoder
from pipelines.denoising.families import TEXT_ENCODERS, Family
from pipelines.denoising.forecast import forecast
from pipelines.denoising.guidance_interval import PartlyGuided
from pipelines.denoising.joining import DenoiserCall
from pipelines.denoising.second_pass import enlarge
from pipelines.denoising.tensor_tree import signature
from pipelines.denoising.timed_calls import CallCounts, TimedCalls
from pipelines.protocol import Item
from pipelines.worker.loader import LoadedModel
from pipelines.worker.torch_errors import is_fatal, is_out_of_memory


class _Slot:
    """A slot with the image in it."""

    def __init__(self, item: Item, coroutine: greenlet) -> None:
        self.item, self.coroutine = item, coroutine
        self.started = self.last_step = time.perf_counter()
        self.finite = True
        #: Its latents after its last denoiser call.
        self.latents: torch.Tensor | None = None
        #: The calls that the coroutine waits for; None before it begins.
        self.waiting: list[_Waiting] | None = None
        #: Its denoiser calls so far.
        self.counts: CallCounts = Counter()
        #: Whether its second pass has begun, in which it waits for one call for each of its tiles.
        self.enlarging = False


class _Waiting:
    """A call that a coroutine waits for, and its result."""

    def __init__(self, call: Any) -> None:
        #: A DenoiserCall or an EncoderCall.
        self.call = call
        #: None until the call has run.
        self.result: Any = None


class Slots:
    """A Batch of `batch_size` slots, 1–64 and a power of two, on a loaded model of a known family."""

    def __init__(
        self, model: LoadedModel, family: Family, settings: CallSettings, batch_size: int, watch: Watch
    ) -> None:
        self._model, self._family, self._settings, self._batch_size = model, family, settings, batch_size
        self._watch = watch
        self._slots: list[_Slot] = []
        self._denoiser = getattr(model.pipeline, family.attribute)
        self._interval = model.card.sampling.guidance_interval
        self._calls = TimedCalls(
            self._denoiser, family, batch_size, model.findings, settings, partly_guided=self._interval is not None
        )
        self._encoders = JointEncoders(batch_size, model.findings)

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def items(self) -> list[Item]:
        return [slot.item for slot in self._slots]

    @property
    def free(self) -> int:
        return self._batch_size - len(self._slots)

    @property
    def seconds_per_step(self) -> float | None:
        return self._calls.seconds_per_step

    def enter(self, item: Item) -> None:
        self._slots.append(_Slot(item, greenlet(self._generate)))

    def leave(self, image_id: str) -> bool:
        slot = next((slot for slot in self._slots if slot.item.image_id == image_id), None)
        if slot is None:
            return False
        self._slots.remove(slot)
        if not slot.coroutine.dead:
            slot.coroutine.throw(GreenletExit)
        return True

    def clear(self) -> list[Item]:
        items = self.items
        for item in items:
            self.leave(item.image_id)
        return items

    def tick(self) -> None:
        # In inference mode torch would multiply in another way with weights that offloading moves.
        with torch.no_grad():
            for slot in [slot for slot in self._slots if slot.waiting is None]:
                # The new image's call runs until its first text encoder: it splits the prompt into tokens.
                self._resume(slot, slot)
            while groups := self._joinable(EncoderCall):
                for _, group in groups:
                    # After its last text encoder an image's call runs until its denoiser: it draws the noise.
                    self._hand_out(group, self._encoders.encode([waiting.call for _, waiting in group]))
                    # This frees the hidden states, which are large, before the next group has as many.
                    group.clear()
            self._calls.begin_step(is_full=self.free == 0)
            for enlarging, group in self._joinable(DenoiserCall):
                calls = [waiting.call for _, waiting in group]
                self._hand_out(group, self._calls.run(calls, in_second_pass=enlarging))
            self._calls.end_step()

    def _joinable(self, kind: type[Any]) -> list[tuple[bool, list[tuple[_Slot, _Waiting]]]]:
        """Return the waiting calls of a class in groups that can be joined, each with at most as many as there are slots.

        The calls of a group have equal signatures and are of one pass; `True` stands for the second pass.
        """
        groups: dict[tuple[bool, Hashable], list[tuple[_Slot, _Waiting]]] = {}
        for slot in self._slots:
            for waiting in slot.waiting or ():
                if waiting.result is None and isinstance(waiting.call, kind):
                    groups.setdefault((slot.enlarging, waiting.call.signature), []).append((slot, waiting))
        return [(enlarging, group[: self._batch_size]) for (enlarging, _), group in groups.items()]

    def _hand_out(self, group: list[tuple[_Slot, _Waiting]], results: list[Any]) -> None:
        """Give their results to the first calls of a group, and resume each slot that then has all results it waits for."""
        # Calls without a result take part in the next tick.
        for (_, waiting), result in zip(group, results, strict=False):
            waiting.result = result
        for slot in dict.fromkeys(slot for slot, _ in group):
            if slot.waiting is not None and all(waiting.result is not None for waiting in slot.waiting):
                answers = [waiting.result for waiting in slot.waiting]
                self._resume(slot, answers if slot.enlarging else answers[0])

    def _resume(self, slot: _Slot, value: Any) -> None:
        """Let a coroutine run until its next call of the denoiser or a text encoder, or until its end."""
        try:
            paused = slot.coroutine.switch(value)
        except Exception as error:
            # The other images hold the memory that this one lacks, so a smaller batch may serve all of them.
            if is_fatal(error) or is_out_of_memory(error):
                raise
            self._slots.remove(slot)
            self._watch(ImageFailed(slot.item, error))
            return
        if slot.coroutine.dead:
            self._slots.remove(slot)
            self._calls.counts = slot.counts
            self._watch(paused)
        else:
            if slot.enlarging:
                self._calls.tiles = len(paused)
            slot.waiting = [_Waiting(call) for call in (paused if slot.enlarging else [paused])]
            for waiting in slot.waiting:
                if isinstance(waiting.call, DenoiserCall):
                    slot.counts[slot.enlarging, waiting.call.rows] += 1

    def _generate(self, slot: _Slot) -> Denoised:
        """Generate one image in its coroutine: run the stock call, and the second pass if there is one."""

        def after_call(call: int, step: int | None, latents: torch.Tensor) -> None:
            if step == self._settings.steps:
                # This waits for the device, so that the time is true.
                slot.finite = bool(torch.isfinite(latents).all())
            slot.last_step = time.perf_counter()
            before, slot.latents = slot.latents, latents
            if step is not None:
                self._watch(Stepped(slot.item, step, partial(forecast, pipeline.scheduler, call, before, latents)))

        pipeline = self._pipeline_of_slot(self._encode)
        made = run_call(pipeline, self._model, self._settings.first, [slot.item], after_call)
        image = made.images[0].float().cpu()
        timings = {
            "denoising_s": round(slot.last_step - slot.started, 4),
            "decoding_s": round(time.perf_counter() - slot.last_step, 4),
        }
        first = Denoised(slot.item, image, slot.finite, slot.latents, timings, made.blacked_out[0])
        if self._settings.second is None:
            return first
        slot.enlarging = True
        return enlarge(
            self._model,
            self._settings,
            first,
            # Tiles wait for one another, so joint encoding would keep the hidden states of all of them in memory at once.
            pipeline_of=partial(self._pipeline_of_slot, self._encoders.encode_alone),
            at_once=1,
            watch=self._watch,
        )

    def _pipeline_of_slot(self, encode: Callable[[EncoderCall], Any]) -> Any:
        """Return a copy of the pipeline with a scheduler of its own, and a denoiser that waits for the other slots.

        `encode` runs its text encoders.
        """
        pipeline = self._model.pipeline
        scheduler = copy.deepcopy(pipeline.scheduler)
        denoiser: Any = _Paused(self._denoiser, self._family)
        if self._interval is not None:
            denoiser = PartlyGuided(denoiser, self._family, self._interval, scheduler)
        own = {"scheduler": scheduler, self._family.attribute: denoiser}
        for name in TEXT_ENCODERS:
            if (encoder := getattr(pipeline, name, None)) is not None:
                own[name] = TextEncoder(name, encoder, encode)
        return copy_with(pipeline, **own)

    def _encode(self, call: EncoderCall) -> Any:
        """Run a text encoder, joined with the calls of the other slots if possible."""
        if any(name.endswith("attention_kwargs") for name in self._model.card.sampling.arguments):
            # These may scale the encoder's LoRAs during this call, and the call of another image would scale them again.
            return self._encoders.encode_alone(call)
        return pause(call)()


class _Paused:
    """A stand-in for the denoiser in a slot's pipeline: a call pauses the coroutine until the joint call is done."""

    def __init__(self, module: Any, family: Family) -> None:
        self._module, self._family = module, family

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        rows = len(arguments[0] if arguments else keywords[self._family.sample])
        multiple = self._family.prompt_multiple
        like = (rows, signature(arguments, multiple), signature(keywords, multiple))
        return pause(DenoiserCall(arguments, keywords, rows, like))
