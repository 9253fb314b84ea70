"""One GPU and its process: what state it is in, which models it holds, which images it has, and how it comes back."""

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Protocol

import msgspec

from pipelines import protocol
from pipelines.failure_reason import FailureReason
from pipelines.model_card import ModelCard
from server import metrics
from server.scheduler.batching import SlotGroup, SlotGroups
from server.scheduler.bounds import Bounds
from server.scheduler.calls import Calls
from server.scheduler.crash import Crash, crash_of_box, crash_of_process, restart_pause
from server.scheduler.devices import AUTO, Device
from server.scheduler.gpu_state import TRANSITIONS, UP, GpuState
from server.scheduler.idle_models import IdleModels
from server.scheduler.process import Process
from server.scheduler.queue import Affinity, BatchKey
from server.scheduler.watchdog import Watchdog

log = logging.getLogger(__name__)


class Listener(Protocol):
    """Hears on the event loop what happens to GPUs, after they have noted it. The server's is `Reports`."""

    def on_report(self, gpu: "Gpu", report: protocol.Report) -> None: ...
    def on_crash(self, crash: Crash) -> None: ...


class Gpu:
    """Keeps one GPU process running, follows what it reports, and knows what is in it."""

    def __init__(self, device: Device, bounds: Bounds) -> None:
        self.device = device
        #: The device's name; AUTO until its process has chosen one.
        self.name = device.name
        self.state = GpuState.STOPPED
        #: The process's report that it is up, and on which device; None until then.
        self.started: protocol.Started | None = None
        self.memory: protocol.MemoryUsed | None = None
        #: Why the last process ended; None once another one is up.
        self.problem: str | None = None
        #: Images generated since the server started.
        self.images = 0
        self.affinity = Affinity()
        self.groups = SlotGroups()
        #: The images in flight here, in the order in which they were sent.
        self.in_flight: dict[str, None] = {}
        #: The bytes of memory that the weights of each loaded model take.
        self.weight_bytes: dict[str, int] = {}
        #: The model that is being loaded; None if none is.
        self.loading: str | None = None
        #: The process has loaded a model, so it can probably load the next job's as well.
        self.has_loaded = False
        #: The models that this device could not load lately, and the batch keys of images for which it had too little memory,
        #: in this process or an earlier one.
        self.unable: set[str | BatchKey] = set()
        #: Crashes since the last image was generated.
        self.crashes = 0
        self._bounds = bounds
        self._process: Process | None = None
        self._watchdog = Watchdog(self._kill)
        self._calls = Calls()
        self._idle_models = IdleModels(self.unload)
        #: The cards of the models that the process was told of.
        self._cards: dict[str, ModelCard] = {}
        #: Why the process ends, in its own words, and whether its box is gone.
        self._last_words: str | None = None
        self._is_lost = False
        #: Why the device's box may not run these models.
        self.refused: dict[str, str] = {}
        self._restart: asyncio.TimerHandle | None = None

    @property
    def loaded(self) -> dict[str, str]:
        """The models in memory, and their revisions."""
        return self.affinity.loaded

    def serves(self, model: str) -> bool:
        """Return whether the model is in memory, is being loaded, or has a slot group."""
        return model in self.loaded or model == self.loading or any(group.key.model == model for group in self.groups)

    @property
    def is_up(self) -> bool:
        """Whether it takes orders."""
        return self.state in UP

    @property
    def is_expected(self) -> bool:
        """Whether it takes orders, or should soon: its process is being started, and has not ended time and again."""
        return self.is_up or (self.state is not GpuState.STOPPED and self.crashes < self._bounds.crashes)

    @property
    def pid(self) -> int | None:
        """The process's id; None if there is no process."""
        return None if self._process is None else self._process.pid

    @property
    def device_name(self) -> str:
        """What the device is, `NVIDIA H100 80GB HBM3`; empty until the process is up."""
        return "" if self.started is None else self.started.device_name

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def start(self, listener: Listener) -> None:
        """Start the process, and tell the listener what happens to it. If the operating system refuses, try again later."""
        self._become(GpuState.STARTING)
        metrics.worker_starts.inc()
        try:
            process = self.device.start()
            process.follow(partial(self._reported, process, listener), partial(self._ended, process, listener))
        except OSError:
            log.exception("The GPU process of %s could not be started", self.name)
            self.problem = "the operating system refused to start its process"
            self.crashes += 1
            self._start_again(listener)
            return
        log.info("The GPU process %d of %s was started", process.pid, self.name)
        self._process = process
        seconds = self._bounds.start_s
        message = f"the GPU process was not up after {seconds:g} s"
        self._watchdog.expect(seconds, FailureReason.START_TIMEOUT, message)

    async def stop(self) -> None:
        """End the process. Its images stay in `in_flight`."""
        self._become(GpuState.STOPPED)
        self._watchdog.stop()
        if self._restart is not None:
            self._restart.cancel()
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            await asyncio.to_thread(process.wait, 10)
        for model in list(self.loaded):
            self._release(model)

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def _become(self, state: GpuState) -> None:
        """Change the state. Raises RuntimeError if the new state may not follow the present one."""
        if state not in TRANSITIONS[self.state]:
            raise RuntimeError(f"a GPU process that is {self.state} cannot become {state}")
        self.state = state

    def _start_again(self, listener: Listener) -> None:
        self._become(GpuState.RESTARTING)
        pause = restart_pause(self.crashes, self._bounds)
        self._restart = asyncio.get_running_loop().call_later(pause, self.start, listener)

    # ── orders ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def load(self, card: ModelCard, image_bytes: int | None = None) -> None:
        """Load this model; while the GPU is busy with images, it is only prefetched.

        `image_bytes` are the least bytes that an image of it takes beside the weights; None if not measured.
        """
        self._cards[card.name] = card
        self._send(protocol.Load(card, image_bytes))

    def take_up(self, cards: Mapping[str, ModelCard]) -> None:
        """Take up edited cards: their time limits hold from now on. A model without a card leaves memory once it is idle."""
        self._cards = {model: cards.get(model, _left(card)) for model, card in self._cards.items()}
        self._watch_idle_models()

    def unload(self, model: str) -> None:
        """Drop this model from memory, unless an image in this GPU needs it."""
        self._send(protocol.Unload(model))

    def pin(self, models: Iterable[str]) -> None:
        """Have the process pin exactly these models: it never evicts them."""
        self._send(protocol.Pin(tuple(models)))

    def generate(self, group: SlotGroup, item: protocol.Item) -> None:
        """Send an image into one of this GPU's slot groups."""
        group.images.add(item.image_id)
        self.in_flight[item.image_id] = None
        self._cards[group.card.name] = group.card
        self._send(
            protocol.Generate(
                card=group.card,
                width=group.key.width,
                height=group.key.height,
                steps=group.key.steps,
                guidance=group.key.guidance,
                batch_size=group.batch_size,
                item=item,
                isolated=group.isolated,
                loras=group.key.loras,
                second=group.key.second,
                image_bytes=group.image_bytes,
            )
        )
        self._watch_idle_models()
        if self.state is GpuState.READY:
            self._go_on()

    def cancel(self, image_id: str) -> None:
        """Order the process to drop an image, because its job fails or the server takes it back; it reports Cancelled."""
        self._send(protocol.Cancel(image_id))

    def _send(self, order: protocol.Order) -> None:
        if self._process is not None:
            self._process.send(order)

    # ── reports ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _reported(self, process: Process, listener: Listener, report: protocol.Report) -> None:
        if process is self._process:
            self._note(report)
            listener.on_report(self, report)

    def _note(self, report: protocol.Report) -> None:
        match report:
            case protocol.DevicesFound(gpus=gpus):
                if self.name == AUTO:
                    self.name = "cuda:0" if gpus else "cpu"
            case protocol.Started():
                log.info("The GPU process of %s is up (%s)", self.name, report.device_name)
                self.started = report
                self.problem = None
                self._go_on()
            case protocol.CannotStart(message=message):
                self.problem = self._last_words = message
            case protocol.DeviceLost(message=message):
                self.problem = self._last_words = message
                self._is_lost = True
            case protocol.Refused(model=model, message=message, image_ids=image_ids):
                log.error("%s may not be run on %s: %s", model, self.name, message)
                self.refused[model] = message
                asyncio.get_running_loop().call_later(self._bounds.refused_s, self.refused.pop, model, None)
                self._leave(image_ids)
            case protocol.MemoryUsed():
                self.memory = report
            case protocol.Loading(model=model):
                log.info("Loading %s on %s", model, self.name)
                self.loading = model
                self._become(GpuState.LOADING)
                self._watch_load(model)
            case protocol.Loaded(model=model):
                log.info("Loaded %s on %s in %.1f s, revision %s", model, self.name, report.seconds, report.revision)
                self._hold(model, report.revision)
                self.has_loaded = True
                self.unable.discard(model)
                self.weight_bytes[model] = report.weight_bytes
                metrics.model_load_seconds.labels(model).observe(report.seconds)
                self.loading = None
                self._go_on()
            case protocol.LoadFailed(model=model, image_ids=image_ids):
                log.error("%s could not be loaded on %s: %s", model, self.name, report.message)
                self.loading = None
                self.leave_to_others(model)
                self._leave(image_ids)
                self._go_on()
            case protocol.Evicted(model=model):
                self._release(model)
            case protocol.Steps():
                if self.groups.current is not None:
                    self._calls.note(report, self.groups.current)
                self._go_on()
            case protocol.LeftSlot(image_id=image_id):
                self._leave_slots([image_id])
                self._watchdog.expect_written(image_id, self._bounds.write_s)
            case protocol.Generated(image_id=image_id):
                self.crashes = 0
                self.images += 1
                self._leave([image_id])
            case protocol.Failed(image_id=image_id) | protocol.Cancelled(image_id=image_id):
                self._leave([image_id])
            case protocol.BatchFailed(image_ids=image_ids):
                log.error("A batch of %s failed: %s: %s", report.model, report.reason, report.message)
                self._leave(image_ids)
            case protocol.Restarted():
                log.warning("%s: %s", report.model, report.message)
                self.groups.resize(report.image_ids, report.batch_size)
                self._go_on()
            case protocol.StageReached() | protocol.Previewed() | protocol.Measured():
                pass

    def _hold(self, model: str, revision: str) -> None:
        if model not in self.loaded:
            metrics.model_loaded.labels(model).inc()
        self.loaded[model] = revision
        self._watch_idle_models()

    def _release(self, model: str) -> None:
        self.weight_bytes.pop(model, None)
        if self.loaded.pop(model, None) is not None:
            metrics.model_loaded.labels(model).dec()
            self._watch_idle_models()

    def _leave_slots(self, image_ids: Iterable[str]) -> None:
        """Take images out of their slots, if they are in any, and note that as a sign of life.

        An image that had left its slot before gives no sign of life: the next model's load may hang while it is written.
        """
        if self.groups.leave(image_ids):
            self._go_on()
            self._watch_idle_models()

    def _leave(self, image_ids: Iterable[str]) -> None:
        for image_id in image_ids:
            self.in_flight.pop(image_id, None)
            self._watchdog.written(image_id)
        self._leave_slots(image_ids)

    def _go_on(self) -> None:
        """Note a sign of life: the next one is due within a step's time, unless there is nothing to do.

        While a model is being loaded, that load's limit holds.
        """
        if self.loading is not None:
            return
        group = self.groups.current
        if group is None:
            self._become(GpuState.READY)
            self._watchdog.rest()
            return
        self._become(GpuState.RUNNING)
        if group.since is None and group.key.model in self.loaded:
            group.since = time.monotonic()
        seconds = group.card.limits.step_timeout_s
        message = f"a step took longer than {seconds:g} s, so the GPU process was ended"
        self._watchdog.expect(seconds, FailureReason.STEP_TIMEOUT, message)

    def _watch_load(self, model: str) -> None:
        card = self._cards.get(model)
        seconds = self._bounds.start_s if card is None else card.limits.load_timeout_s
        message = f"{model} was not loaded after {seconds:g} s, so the GPU process was ended"
        self._watchdog.expect(seconds, FailureReason.LOAD_TIMEOUT, message, model)

    def leave_to_others(self, what: str | BatchKey) -> None:
        """Note that this device could not load a model, or run images of a key: for a while others do, if they may."""
        self.unable.add(what)
        asyncio.get_running_loop().call_later(self._bounds.left_to_others_s, self.unable.discard, what)

    def _watch_idle_models(self) -> None:
        needed = {group.key.model for group in self.groups}
        self._idle_models.set_idle(
            self._cards[model] for model in self.loaded if model in self._cards and model not in needed
        )

    # ── its end ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _ended(self, process: Process, listener: Listener, status: int) -> None:
        if process is not self._process:
            return
        if self._is_lost:
            crash = crash_of_box(self._last_words or "the box is gone", self.in_flight)
        else:
            crash = crash_of_process(
                status, self._watchdog.verdict, self.groups, self.loading, self.in_flight, self.loaded
            )
        self.problem = self._last_words or crash.message
        if crash.loading is None:
            self.crashes += 1
        else:
            # The model's next try has a pause of its own, so this crash makes that of the process no longer.
            self.leave_to_others(crash.loading)
        log.error(
            "The GPU process %d of %s is gone: %s; its log, %s, may say more",
            process.pid,
            self.name,
            self.problem,
            self.device.log,
        )
        self._watchdog.stop()
        self._process, self.started, self.memory = None, None, None
        self.loading, self._last_words, self._is_lost = None, None, False
        self.has_loaded = False
        self.refused.clear()
        for model in list(self.loaded):
            self._release(model)
        self.affinity = Affinity()
        self.groups = SlotGroups()
        self.in_flight.clear()
        self._start_again(listener)
        listener.on_crash(crash)


def _left(card: ModelCard) -> ModelCard:
    """Return the card of a model that is no longer enabled, changed so that the model is unloaded once it is idle."""
    return msgspec.structs.replace(card, limits=msgspec.structs.replace(card.limits, idle_unload_s=0.0))
