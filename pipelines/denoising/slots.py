"""Batching at the denoising step: a denoiser of fixed shape whose slots hold different images at different steps.

Every slot runs the stock pipeline call for one image as a coroutine (a greenlet). Where the pipeline calls its denoiser
the coroutine pauses; once all slots have paused, their calls are joined into one of fixed shape, the denoiser runs once,
and each coroutine goes on with its own part. So schedulers, guidance, prompt encoding and decoding are diffusers' own
code for every family, each slot has its own scheduler state and timestep, and a new image enters at the next step after a
slot frees.

At a fixed shape the denoiser gives a row the same bits whatever the other rows are, so an image does not depend on
its neighbours or on when they came. A few images need not pay for all slots: they run at a smaller shape, the layers whose
bits depend on the shape padded to the fixed one, where this was seen to give the very bits of the fixed one on this device.
"""

import copy
import logging
import time
from collections import deque
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

import msgspec
import torch
from greenlet import GreenletExit, getcurrent, greenlet

from pipelines.denoising.call import Broke, Denoised, Size, Stepped, Watch, call_arguments, steps_done
from pipelines.denoising.exact_batch import Layers, layers_to_pad, padded
from pipelines.denoising.tensor_tree import finite, join, part, same, signature
from pipelines.protocol import Item
from pipelines.worker.loader import LoadedModel
from pipelines.worker.torch_errors import is_fatal, is_out_of_memory

log = logging.getLogger(__name__)

#: Denoisers that slots know, as read and tested: what belongs to an image is along the first dimension of what they take and
#: give, and their operations depend on nothing but the signature of a call, so that it can be recorded.
FAMILIES = frozenset(
    {
        "UNet2DConditionModel",
        "SD3Transformer2DModel",
        "FluxTransformer2DModel",
        "Flux2Transformer2DModel",
        "ZImageTransformer2DModel",
        "QwenImageTransformer2DModel",
    }
)
#: Of denoisers that pad each prompt by themselves: to a multiple of how many tokens. Prompts that end at the same one share
#: calls; others cannot without a mask, which would change bits.
_PROMPT_MULTIPLES = {"ZImageTransformer2DModel": 32}
#: Attributes of a pipeline that hold its denoiser.
_DENOISERS = ("unet", "transformer")
#: Attributes that hold a text encoder, whose bits depend on the batch shape just as the denoiser's do.
_TEXT_ENCODERS = ("text_encoder", "text_encoder_2", "text_encoder_3")
#: Arguments of a denoiser without a batch dimension; they depend on the size only, which all slots share.
_SHARED = ("img_ids", "txt_ids")
#: Denoiser calls of a kind, and steps, whose time is known before it is used.
_TIMED = 4
#: Seconds of calls that may be recorded; of longer ones Python takes next to nothing.
_SHORT = 0.5
#: So many times the images a second must come of a call that leaves some of them out.
_WORTH = 1.03


def fits(pipeline: Any) -> bool:
    """Whether a pipeline can be run in slots."""
    denoiser = _denoiser_name(pipeline)
    return denoiser is not None and type(getattr(pipeline, denoiser)).__name__ in FAMILIES


class _Call(msgspec.Struct, frozen=True):
    """A denoiser call that waits for the other slots."""

    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    rows: int
    #: Equal where calls can be joined.
    like: Hashable


class _Slot:
    """One image on its way."""

    def __init__(self, item: Item) -> None:
        self.item = item
        self.entered = time.perf_counter()
        self.last_step = self.entered
        self.finite = True
        self.waiting: _Call | None = None
        self.coroutine: greenlet = greenlet()


class Slots:
    """`shape` slots on one loaded model that fits: 1–64, a power of two."""

    def __init__(self, model: LoadedModel, size: Size, shape: int, watch: Watch) -> None:
        self.model, self.size, self.shape = model, size, shape
        self._watch = watch
        self._slots: list[_Slot] = []
        #: Of one denoiser call at this shape; None until there were some.
        self._seconds_per_call: float | None = None
        #: Seconds of the first steps of all slots, of one call or of more where prompts cannot be joined.
        self._full_steps: list[float] = []
        #: A shape was compared in this step, which takes longer.
        self._compared = False
        #: What was called here, and so timed lately.
        self._timed_here: set[Hashable] = set()
        self._checked = False
        denoiser = _denoiser_name(model.pipeline)
        assert denoiser is not None  # noqa: S101  it fits
        self._denoiser_name = denoiser
        self._denoiser = getattr(model.pipeline, denoiser)

    def __len__(self) -> int:
        """Images on their way."""
        return len(self._slots)

    @property
    def free(self) -> int:
        return self.shape - len(self._slots)

    @property
    def seconds_per_step(self) -> float | None:
        """Of a step of all slots, or of a call with some of them padded where they were never all taken; None until some were
        timed."""
        return min(self._full_steps) if len(self._full_steps) == _TIMED else self._seconds_per_call

    def enter(self, item: Item) -> None:
        """Encode the prompt and draw the noise; the image takes part from the next `tick` on. Needs a free slot."""
        assert self.free > 0, "no slot is free"  # noqa: S101  the caller counts
        slot = _Slot(item)
        slot.coroutine = greenlet(lambda: self._run(slot))
        self._slots.append(slot)
        with torch.inference_mode():
            self._resume(slot)

    def leave(self, job_id: str) -> bool:
        """Drop an image; False where it is not here."""
        slot = next((slot for slot in self._slots if slot.item.job_id == job_id), None)
        if slot is None:
            return False
        self._slots.remove(slot)
        if not slot.coroutine.dead:
            slot.coroutine.throw(GreenletExit)
        return True

    def tick(self) -> None:
        """One denoiser call, for all slots or for the first that came. Raises what the denoiser raises; then every image
        here is lost."""
        with torch.inference_mode():
            timed = len(self._slots) == self.shape and len(self._full_steps) < _TIMED
            self._compared = False
            seconds = 0.0
            for group in _alike(self._slots):
                call = partial(self._call, [slot.waiting for slot in group if slot.waiting])
                results, took = self._clocked(call) if timed else (call(), 0.0)
                # Where some wait for the others, it takes more such calls.
                seconds += took * len(group) / len(results)
                # Those without a part wait for a place: their steps come once the others are done.
                for slot, own in zip(group, results, strict=False):
                    slot.waiting = None
                    self._resume(slot, own)
            if timed and not self._compared:
                self._full_steps.append(seconds)

    def clear(self) -> list[Item]:
        """Drop every image; which they were."""
        items = [slot.item for slot in self._slots]
        for item in items:
            self.leave(item.job_id)
        return items

    def _resume(self, slot: _Slot, *result: Any) -> None:
        """Let a coroutine run until its next denoiser call or its end."""
        try:
            paused = slot.coroutine.switch(*result)
        except Exception as error:
            # The others hold the memory that this one lacked, so a smaller shape may do for all.
            if is_fatal(error) or (is_out_of_memory(error) and self.shape > 1):
                raise
            self._slots.remove(slot)
            self._watch(Broke(slot.item, error))
            return
        if slot.coroutine.dead:
            self._slots.remove(slot)
            self._watch(paused)
        else:
            slot.waiting = paused

    def _run(self, slot: _Slot) -> Denoised:
        """In the coroutine: the stock call for one image."""

        def after_call(pipeline: Any, call: int, _: Any, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            done = steps_done(pipeline, call, self.size.steps)
            if done == self.size.steps:
                # This waits for the device, so that the time is true.
                slot.finite = bool(torch.isfinite(tensors["latents"]).all())
            slot.last_step = time.perf_counter()
            if done is not None:
                self._watch(Stepped(slot.item, done))
            return tensors

        output = self._pipeline_of_slot()(
            **call_arguments(self.model, self.size, [slot.item]),
            callback_on_step_end=after_call,
        )
        image = output.images[0].float().cpu()
        timings = {
            "denoising_s": round(slot.last_step - slot.entered, 4),
            "decoding_s": round(time.perf_counter() - slot.last_step, 4),
        }
        return Denoised(slot.item, image, slot.finite, timings)

    def _pipeline_of_slot(self) -> Any:
        """The pipeline with a scheduler of its own, and a denoiser that waits for the other slots."""
        pipeline = copy.copy(self.model.pipeline)
        # Past DiffusionPipeline.__setattr__, which would write the change into the config that all copies share.
        own = vars(pipeline)
        own[self._denoiser_name] = _Paused(self._denoiser)
        own["scheduler"] = copy.deepcopy(pipeline.scheduler)
        for name in _TEXT_ENCODERS:
            if own.get(name) is not None:
                own[name] = _AtShape(own[name], self.shape)
        return pipeline

    def _call(self, calls: list[_Call]) -> list[Any]:
        """Run the denoiser once, for all calls or the first of them; the result of each that took part.

        It runs at a shape that is known to give the bits of the fixed one. Which do depends on the device's kernels alone,
        so it is found once for calls of the same likeness, by running both on them.
        """
        rows, like = calls[0].rows, calls[0].like
        exact: dict[int, Layers] = {self.shape: ()}
        # The server chooses between shapes by their times, so that of the fixed one is taken first where it costs little.
        timed = self._seconds(self.shape, like) is not None or len(calls) <= self.shape // 2
        for shape in _shapes_below(self.shape) if timed else []:
            if (shape, self.shape, like) not in self.model.padding:
                if len(calls) <= shape:
                    result = self._compare(shape, calls)
                    return [part(result, index * rows, rows) for index in range(len(calls))]
                continue
            layers = self.model.padding[shape, self.shape, like]
            if layers is not None:
                exact[shape] = layers
                if len(calls) <= shape:
                    # What is larger takes longer: little of any of them is padded.
                    break
        shape = self._best(sorted(exact), len(calls), like)
        taking_part = calls[:shape]
        result = self._denoiser_at(shape, taking_part, exact[shape])
        return [part(result, index * rows, rows) for index in range(len(taking_part))]

    def _compare(self, shape: int, calls: list[_Call]) -> Any:
        """Run calls at the fixed shape, and at a smaller one to note whether that gives the same bits; the result."""
        self._compared = True
        rows, key = calls[0].rows, (shape, self.shape, calls[0].like)
        few, full = shape * rows, self.shape * rows
        result, layers = layers_to_pad(self._denoiser, lambda: self._run_denoiser(self.shape, calls), full, few)
        self._check_places(result, rows)
        if layers is None:
            self.model.padding[key] = None
            return result
        try:
            with padded(layers, few, full):
                smaller = self._run_denoiser(shape, calls)
        except Exception:
            # The result of the fixed shape is good, so nobody suffers.
            log.exception("%s cannot run at %d of %d slots", self.model.card.name, shape, self.shape)
            self.model.padding[key] = None
            return result
        if finite(smaller):
            # NaN of a broken image would say nothing about the kernels.
            self.model.padding[key] = layers if same(part(result, 0, few), smaller) else None
        return result

    def _best(self, shapes: list[int], images: int, like: Hashable) -> int:
        """The shape that takes the most images through a step in a second, as far as that is known.

        Three images, for example, may be done sooner as two and then one than as four with one for padding.
        """
        smallest = min(shape for shape in shapes if shape >= images)
        seconds = {
            shape: found for shape in shapes if shape <= smallest and (found := self._seconds(shape, like)) is not None
        }
        if smallest not in seconds:
            return smallest
        best = smallest
        for shape in seconds:
            gain = min(shape, images) / seconds[shape] / (min(best, images) / seconds[best])
            # To leave images out must be worth it; a little less is noise.
            if gain > _WORTH:
                best = shape
        return best

    def _seconds(self, shape: int, like: Hashable) -> float | None:
        """Of a denoiser call at a shape, the least of a few, since others only add to it; None until some were timed."""
        times = self.model.times.get((shape, self.shape, like), ())
        return min(times) if len(times) == _TIMED else None

    def _check_places(self, result: Any, rows: int) -> None:
        """The padding repeats the first image, so the same bits must have come of it at the last place as at the first."""
        if self._checked:
            return
        self._checked = True
        if not same(part(result, 0, rows), part(result, (self.shape - 1) * rows, rows)):
            log.warning(
                "%s at %d × %d: this device gives other bits at another of %d places; for exact seeds choose another"
                " batch_shapes",
                self.model.card.name,
                self.size.width,
                self.size.height,
                self.shape,
            )

    def _denoiser_at(self, shape: int, calls: list[_Call], layers: Layers) -> Any:
        """Run the denoiser at a shape with these layers padded; as it is, or from a recording where that pays."""
        like, rows = calls[0].like, calls[0].rows
        key = (shape, self.shape, like)

        def call(arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
            with padded(layers, shape * rows, self.shape * rows):
                return self._denoiser(*arguments, **keywords)

        given = _together(shape, calls)
        seconds = self._seconds(shape, like)
        if seconds is None or key not in self._timed_here:
            self._timed_here.add(key)
            result, took = self._clocked(lambda: call(*given))
            self.model.times.setdefault(key, deque(maxlen=_TIMED)).append(took)
            if shape == self.shape and self._seconds_per_call is None:
                self._seconds_per_call = self._seconds(shape, like)
            return result
        if self.model.recordings is None or seconds > _SHORT:
            return call(*given)
        return self.model.recordings.call((key, signature(given)), self._denoiser, call, *given)

    def _clocked(self, call: Callable[[], Any]) -> tuple[Any, float]:
        """What came of a call, and the seconds it took."""
        on_cuda = self._denoiser.device.type == "cuda"
        if on_cuda:
            torch.cuda.synchronize()
        started = time.perf_counter()
        result = call()
        if on_cuda:
            torch.cuda.synchronize()
        return result, time.perf_counter() - started

    def _run_denoiser(self, shape: int, calls: list[_Call]) -> Any:
        arguments, keywords = _together(shape, calls)
        return self._denoiser(*arguments, **keywords)


def _denoiser_name(pipeline: Any) -> str | None:
    """The attribute that holds a pipeline's denoiser."""
    return next((name for name in _DENOISERS if getattr(pipeline, name, None) is not None), None)


def _together(shape: int, calls: list[_Call]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of one call at a shape, padded with repetitions of the first."""
    rows = calls[0].rows
    together = [*calls, *(calls[0] for _ in range(shape - len(calls)))]
    arguments = tuple(
        join([call.arguments[index] for call in together], rows) for index in range(len(calls[0].arguments))
    )
    keywords = {
        name: value if name in _SHARED else join([call.keywords[name] for call in together], rows)
        for name, value in calls[0].keywords.items()
    }
    return arguments, keywords


class _Paused:
    """Stands for the denoiser in a slot's pipeline: a call pauses the coroutine until the joint call is done."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self._multiple = _PROMPT_MULTIPLES.get(type(module).__name__, 1)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        sample = arguments[0] if arguments else keywords["hidden_states" if "hidden_states" in keywords else "sample"]
        hub = getcurrent().parent
        assert hub is not None  # noqa: S101  only called in a slot's coroutine
        like = (len(sample), signature(arguments, self._multiple), signature(keywords, self._multiple))
        return hub.switch(_Call(arguments, keywords, len(sample), like))


class _AtShape:
    """Stands for a text encoder: one prompt is encoded at the fixed shape, so that it gets the bits of a whole batch."""

    def __init__(self, module: Any, shape: int) -> None:
        self._module, self._shape = module, shape

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        sample = arguments[0] if arguments else keywords["input_ids"]
        rows = len(sample)
        joined = [join([argument] * self._shape, rows) for argument in arguments]
        named = {name: join([argument] * self._shape, rows) for name, argument in keywords.items()}
        return part(self._module(*joined, **named), 0, rows)


def _shapes_below(shape: int) -> list[int]:
    """Shapes worth trying for fewer images, ascending: 1, 2, 3, 4, 6, 8, 12, …"""
    return sorted(size for power in range(6) for size in (2**power, 3 * 2**power) if size < shape)


def _alike(slots: list[_Slot]) -> list[list[_Slot]]:
    """The waiting slots in groups whose calls can be joined: those of equal signature."""
    groups: dict[Any, list[_Slot]] = {}
    for slot in slots:
        if slot.waiting is not None:
            groups.setdefault(slot.waiting.like, []).append(slot)
    return list(groups.values())
