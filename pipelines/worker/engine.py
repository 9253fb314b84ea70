"""The engine, which holds models in memory and one open slot group, and generates the images that are ordered."""

import logging
import time
from collections import deque
from collections.abc import Callable

import diffusers
import torch
import transformers

from pipelines import protocol
from pipelines.denoising.call import CallSettings
from pipelines.denoising.families import keeps_negatives_apart
from pipelines.failure_reason import FailureReason, Fault
from pipelines.model_card import ModelCard
from pipelines.output.image_writer import ImageWriter
from pipelines.protocol import Cancel, Generate, Load, Pin, Report, Stage, Unload
from pipelines.worker import cpu_tuning, device_memory
from pipelines.worker.determinism import be_deterministic
from pipelines.worker.fingerprint import fingerprint
from pipelines.worker.library_logs import about, keep_library_logs
from pipelines.worker.loader import CannotLoad, LoadedModel, TooLarge, choose_device
from pipelines.worker.loras import LoraUnusable
from pipelines.worker.model_cache import ModelCache
from pipelines.worker.orders import Orders
from pipelines.worker.out_of_memory import Remedy, remedy
from pipelines.worker.recipes import Machine
from pipelines.worker.running_group import GroupKey, RunningGroup
from pipelines.worker.torch_errors import forget_frames, is_fatal, is_out_of_memory, still_convolves
from pipelines.worker.turns import computing

log = logging.getLogger(__name__)


class Engine:
    """The owner of the models and the open slot group: it follows orders, and reports what becomes of them.

    Errors of a model do not end it. Only a crash, a lost device and convolutions that no longer work do.
    """

    def __init__(
        self, wanted_device: str, memory_limit: int | None, orders: Orders, report: Callable[[Report], None]
    ) -> None:
        """Take the device, and at most `memory_limit` bytes of its memory. Raises loader.NoDevice."""
        keep_library_logs()
        self._orders, self._report = orders, report
        gpus = torch.cuda.device_count()
        report(protocol.DevicesFound(gpus))
        device = choose_device(wanted_device, gpus)
        if device.type == "cuda":
            # A box may have several GPUs. Code in this thread that names none of them uses this one.
            torch.cuda.set_device(device)
        else:
            cpu_tuning.yield_to_server()
        if memory_limit is not None:
            device_memory.limit_memory(device, memory_limit)
        elif device.type == "cpu":
            cpu_tuning.keep_freed_memory()
        be_deterministic()
        self._machine = Machine(
            device,
            torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads",
            {
                "torch": str(torch.__version__),
                "diffusers": diffusers.__version__,
                "transformers": transformers.__version__,
            },
        )
        self._models = ModelCache(device, memory_limit, evicted=lambda model: report(protocol.Evicted(model)))
        self._writer = ImageWriter(report)
        self._group: RunningGroup | None = None
        #: Orders that wait for a slot, in the order in which they will enter one.
        self._waiting: deque[Generate] = deque()
        #: The largest batch size that may fit, by model, width and height, if memory ran out with a larger one.
        self._most: dict[tuple[str, int, int], int] = {}

    def serve(self) -> None:
        """Follow orders for ever. Raises torch's error if the device is lost, or this process can no longer use it."""
        device = self._machine.device
        self._report(protocol.Started(str(device), self._machine.device_name, fingerprint(device)))
        self._report_memory()
        while True:
            self._take_orders(wait=not self._busy)
            self._fill_slots()
            if self._running is not None:
                self._tick(self._running)

    def _report_memory(self) -> None:
        device = self._machine.device
        self._report(protocol.MemoryUsed(device_memory.total_bytes(device), device_memory.used_bytes(device)))

    @property
    def _running(self) -> RunningGroup | None:
        """Return the open slot group, if an image is in one of its slots; otherwise None."""
        return self._group if self._group is not None and len(self._group) else None

    @property
    def _busy(self) -> bool:
        return bool(self._waiting) or self._running is not None

    def _take_orders(self, wait: bool) -> None:
        """Take the orders that have come; if `wait`, wait until at least one has."""
        while (order := self._orders.next(wait)) is not None:
            wait = False
            match order:
                case Generate():
                    self._waiting.append(order)
                    if self._running is not None:
                        with about(f"{order.card.name}, {order.item.image_id}"):
                            self._prefetch(order.card, order.image_bytes)
                case Cancel(image_id=image_id):
                    self._cancel(image_id)
                case Pin(models=models):
                    self._models.pin(models)
                case Load(card=card, image_bytes=image_bytes):
                    if self._busy:
                        with about(card.name):
                            self._prefetch(card, image_bytes)
                    else:
                        self._group = None
                        self._load(card, image_bytes)
                case Unload(model=model):
                    self._unload(model)

    def _cancel(self, image_id: str) -> None:
        waiting = next((order for order in self._waiting if order.item.image_id == image_id), None)
        if waiting is not None:
            self._waiting.remove(waiting)
        if waiting is not None or (self._group is not None and self._group.leave(image_id)):
            self._report(protocol.Cancelled(image_id))

    # ── slots ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _fill_slots(self) -> None:
        """Let waiting images enter free slots; if the open group is empty and not for the next image, open another."""
        while self._waiting:
            order, group = self._waiting[0], self._group
            if group is None or not group.takes(order, self._key_of(order)):
                if self._running is not None:
                    return
                # The old group must not hold its model in memory, which may have to be evicted.
                group = self._group = None
                group = self._group = self._open_group(order)
                if group is None:
                    continue
            if not group.free:
                return
            self._waiting.popleft()
            group.enter(order)

    def _open_group(self, order: Generate) -> RunningGroup | None:
        """Return a new slot group for the first waiting order; if that is impossible, drop the order and return None.

        If its model cannot be loaded, all orders of the model are dropped; if a LoRA cannot be applied, only this one.
        """
        device_memory.release_unused(self._machine.device)
        model = self._models.get(order.card)
        if model is None:
            waiting = tuple(other.item.image_id for other in self._waiting if other.card == order.card)
            self._report(protocol.StageReached(waiting, Stage.LOADING))
            model = self._load(order.card, order.image_bytes)
        if model is None:
            return None
        model = self._with_loras(model, order)
        if model is None:
            return None
        self._report_memory()
        return RunningGroup(
            self._key_of(order), model, self._machine, self._writer, self._report, isolated=order.isolated
        )

    def _key_of(self, order: Generate) -> GroupKey:
        """Return the key of an order's slot group, with the ordered batch size, or a smaller one if that did not fit."""
        batch_size = order.batch_size
        if not order.card.limits.reproducible:
            batch_size = min(batch_size, self._most.get((order.card.name, order.width, order.height), batch_size))
        settings = CallSettings(order.width, order.height, order.steps, order.guidance, order.second)
        negative = keeps_negatives_apart(order.card, order.item.negative_prompt)
        return GroupKey(order.card, settings, batch_size, order.loras, negative)

    # ── errors ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _tick(self, group: RunningGroup) -> None:
        """Do the open group's next step. If it fails, close the group; its images restart or fail."""
        try:
            with about(group.described), computing():
                group.tick()
        except Exception as error:
            if is_fatal(error):
                raise
            log.exception("A denoiser call of %s failed", group.key.card.name)
            lost = group.clear()
            forget_frames(error)
            # To restore a model takes memory too.
            device_memory.release_unused(self._machine.device)
            group.model.restore()
            self._group = None
            if is_out_of_memory(error):
                self._out_of_memory(group, lost, error)
                return
            self._report(
                protocol.BatchFailed(
                    FailureReason.PIPELINE_ERROR,
                    protocol.told(f"{type(error).__name__}: {error}"),
                    tuple(order.item.image_id for order in lost),
                    group.key.card.name,
                )
            )

    def _out_of_memory(self, group: RunningGroup, lost: list[Generate], error: Exception) -> None:
        """Make room for the lost images and let them enter again, before all others; or fail them."""
        card, settings, batch_size = group.key.card, group.key.settings, group.key.batch_size
        idle = self._models.idle_beside(card)
        chosen = remedy(idle_models=len(idle), batch_size=batch_size, reproducible=card.limits.reproducible)
        if chosen is Remedy.FAIL:
            message = _why_nothing_helps(group.key, error)
            for order in lost:
                self._report(protocol.Failed(order.item.image_id, FailureReason.OUT_OF_MEMORY, message, Fault.MACHINE))
            if not still_convolves():
                # Every later image would fail too. A new process can convolve, and has the memory that this one has leaked.
                raise error
            return
        if chosen is Remedy.EVICT:
            self._models.evict(idle)
            left = batch_size
            message = f"Out of memory; {', '.join(idle)} made room, and the image starts again"
        else:
            left = batch_size // 2
            self._most[card.name, settings.width, settings.height] = left
            self._report(group.cost.did_not_fit())
            message = f"Out of memory with {batch_size} slots; the image starts again with {left}"
        log.warning("%s at %d × %d: %s", card.name, settings.width, settings.height, message)
        self._waiting.extendleft(reversed(lost))
        self._report(
            protocol.Restarted(
                tuple(order.item.image_id for order in lost),
                card.name,
                settings.width,
                settings.height,
                left,
                batch_size,
                chosen is Remedy.EVICT,
                FailureReason.OUT_OF_MEMORY,
                message,
            )
        )

    # ── models ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _prefetch(self, card: ModelCard, image_bytes: int | None) -> None:
        """Have a model built in host memory while another one works, unless it is in memory already."""
        if self._models.get(card) is not None:
            return
        self._models.prefetch(card, image_bytes)
        if self._group is not None and self._machine.device.type == "cpu":
            self._group.cost.share_memory()

    def _load(self, card: ModelCard, image_bytes: int | None) -> LoadedModel | None:
        """Return the model in memory; if it cannot be loaded, drop the orders that wait for it. No group may be open."""
        model = self._models.get(card)
        if model is not None:
            return model
        self._report(protocol.Loading(card.name))
        waiting = tuple(order.item.image_id for order in self._waiting if order.card == card)
        started = time.perf_counter()
        try:
            with about(", ".join((card.name, *waiting[:1]))):
                model = self._models.load(card, image_bytes)
        except Exception as error:
            if is_fatal(error):
                raise
            log.exception("%s could not be loaded for the images %s", card.name, ", ".join(waiting) or "(none)")
            self._waiting = deque(order for order in self._waiting if order.card != card)
            self._report(protocol.LoadFailed(card.name, *_why_not_loaded(card, error), waiting))
            return None
        # A batch size that did not fit beside other models, or with other weights, may fit now.
        self._most = {key: most for key, most in self._most.items() if key[0] != card.name}
        seconds = round(time.perf_counter() - started, 3)
        self._report(protocol.Loaded(card.name, model.revision, seconds, self._models.bytes_of(card.name)))
        self._report_memory()
        return model

    def _with_loras(self, model: LoadedModel, order: Generate) -> LoadedModel | None:
        """Return the model with the order's LoRAs on; if one cannot be applied, drop the order and return None."""
        try:
            with about(lambda: f"{order.card.name}, image {order.item.image_id}"), computing():
                return model.with_loras(order.loras)
        except Exception as error:
            if is_fatal(error):
                raise
            idle = self._models.idle_beside(order.card)
            if idle and is_out_of_memory(error):
                log.warning("%s: out of memory for LoRAs; %s made room", order.card.name, ", ".join(idle))
                forget_frames(error)
                self._models.evict(idle)
                return self._with_loras(model, order)
            log.exception("The LoRAs of image %s cannot be applied to %s", order.item.image_id, order.card.name)
            reason, message = FailureReason.LORA_UNUSABLE, protocol.told(str(error))
            if is_out_of_memory(error):
                reason, message = FailureReason.OUT_OF_MEMORY, "The device has too little memory for the LoRAs"
            elif not isinstance(error, LoraUnusable):
                message = protocol.told(f"{type(error).__name__}: {error}")
            self._waiting.remove(order)
            self._report(protocol.Failed(order.item.image_id, reason, message, Fault.MACHINE))
            return None

    def _unload(self, name: str) -> None:
        """Drop a model from memory, unless an image needs it."""
        if any(order.card.name == name for order in self._waiting):
            return
        if self._group is not None and self._group.key.card.name == name:
            if self._running is not None:
                return
            # The group would hold its model in memory.
            self._group = None
        self._models.unload(name)
        self._report_memory()


def _why_nothing_helps(key: GroupKey, error: Exception) -> str:
    """Return what to tell of an image that runs out of memory although no model is left to evict."""
    if key.batch_size > 1:
        return (
            f"Out of memory with the {key.batch_size} slots that reproducible = true pins {key.card.name} to; with a smaller"
            " max_batch it takes less, and a seed gives other bytes"
        )
    settings = key.settings
    way_out = " or free memory on the device"
    if settings.second is not None and settings.second.tile is None:
        way_out = f", or write upscale.tile on the card of {key.card.name}"
    return protocol.told(
        f"Out of memory at {settings.width} × {settings.height}, even as the only image; ask for a lower resolution"
        f"{way_out} ({type(error).__name__}: {error})"
    )


def _why_not_loaded(card: ModelCard, error: Exception) -> tuple[FailureReason, str]:
    if isinstance(error, TooLarge):
        return FailureReason.OUT_OF_MEMORY, protocol.told(str(error))
    if is_out_of_memory(error):
        return FailureReason.OUT_OF_MEMORY, f"{card.name} does not fit into memory ({type(error).__name__})"
    if isinstance(error, CannotLoad):
        return FailureReason.MODEL_LOAD_FAILED, protocol.told(str(error))
    return FailureReason.MODEL_LOAD_FAILED, protocol.told(f"{type(error).__name__}: {error}")
