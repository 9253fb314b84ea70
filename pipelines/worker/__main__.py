"""The GPU process: `python -m pipelines.worker FD DEVICE MEMORY_GIB LOGS`. The only importer of torch and diffusers.

Orders come over the socket FD inherited from the server, and reports go back the same way. A thread reads orders, so
that a cancel is seen between two denoising steps; when the server is gone the process leaves at once.
"""

import gc
import logging
import os
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from logging.handlers import RotatingFileHandler
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pipelines import protocol
from pipelines.model_card import ModelCard, settings_digest
from pipelines.protocol import Item, decode_order, encode
from pipelines.recipe import Recipe

if TYPE_CHECKING:
    from pipelines.denoising.call import Outcome
    from pipelines.denoising.slots import Slots
    from pipelines.denoising.whole_batch import WholeBatch
    from pipelines.worker.loader import LoadedModel

log = logging.getLogger("pipelines.worker")

#: Seconds between reports of steps. The server commits each report to disk and wakes who follows the jobs, which on a CPU
#: takes nearly a tenth of the time of a small model's step.
TELL_S = 0.25


#: A step that takes so much more or less than the server was told is worth telling.
NEWS = 0.1


class Orders:
    """What the server wants, read by a thread of its own."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._waiting: queue.SimpleQueue[protocol.Order] = queue.SimpleQueue()
        threading.Thread(target=self._read, name="orders", daemon=True).start()

    def next(self, wait: bool) -> protocol.Order | None:
        """The next order; None where there is none and it may not wait."""
        try:
            return self._waiting.get(block=wait)
        except queue.Empty:
            return None

    def _read(self) -> None:
        while True:
            try:
                order = decode_order(self._pipe.recv_bytes())
            except (EOFError, OSError):
                # The server is gone: whatever runs now has nobody to be delivered to.
                os._exit(0)
            except msgspec.MsgspecError:
                # The server is of another version, as after an update beneath it; it will see this and say so.
                log.exception("An order cannot be read; restart the server")
                os._exit(1)
            self._waiting.put(order)


class Engine:
    """Holds the models in memory and the slots of one of them, and makes the images that are ordered."""

    def __init__(
        self, wanted_device: str, memory_gib: float, orders: Orders, report: Callable[[protocol.Report], None]
    ) -> None:
        # Imported here and not above, so that the order-reading thread sees the server die during these seconds too.
        import diffusers
        import torch
        import transformers

        from pipelines.denoising import call, slots, whole_batch
        from pipelines.output import image_writer as finishing
        from pipelines.worker import default_dtype, loader
        from pipelines.worker import model_cache as memory
        from pipelines.worker import torch_errors as faults

        # Bars are for terminals; the log has when a load begins and ends.
        diffusers.utils.logging.disable_progress_bar()
        transformers.utils.logging.disable_progress_bar()
        transformers.utils.logging.set_verbosity_error()
        # Unknown entries in a model's configuration and parts of another kind than usual are its author's affair.
        for name, start in (
            ("configuration_utils", "The config attributes"),
            ("pipelines.pipeline_utils", "Expected types"),
        ):
            logging.getLogger(f"diffusers.{name}").addFilter(partial(_starts_otherwise, start))
        self._call, self._computing, self._pause = call, default_dtype.computing, default_dtype.pause
        self._faults, self._loader, self._memory = faults, loader, memory
        self._slot_kind, self._batch_kind, self._fits = slots.Slots, whole_batch.WholeBatch, slots.fits
        self._orders, self._report = orders, report
        self._device = loader.choose_device(wanted_device)
        limit = int(memory_gib * 2**30) if memory_gib else None
        if limit is not None:
            memory.limit_memory(self._device, limit)
        elif self._device.type == "cpu":
            memory.keep_memory()
        if self._device.type == "cpu":
            # The server shares these cores, and its answers are short.
            os.nice(5)
        if self._device.type == "cuda":
            # Of a box's several, so that all that asks for the present one asks for this.
            torch.cuda.set_device(self._device)
        # The same seed must give the same bytes, so no algorithm may be picked by a stop-watch.
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
        self._residents = memory.Residents(self._device, limit, evicted=lambda model: report(protocol.Evicted(model)))
        self._slots: Slots | WholeBatch | None = None
        #: What the present slots were opened for, and what waits for one of them or for the next ones.
        self._opened: protocol.Enter | None = None
        self._ahead: deque[protocol.Enter] = deque()
        #: The seconds a step that the server was last told of these slots.
        self._measured: float | None = None
        #: Steps that the server has not been told of, and when it last was.
        self._stepped: list[protocol.Step] = []
        self._told = 0.0
        self._finishing = finishing.Finishing(report)
        self._versions = {
            "torch": str(torch.__version__),
            "diffusers": diffusers.__version__,
            "transformers": transformers.__version__,
        }
        cuda = self._device.type == "cuda"
        threads = f"{torch.get_num_threads()} threads"
        self._device_name = torch.cuda.get_device_name(self._device) if cuda else threads
        # The imports made 700 000 objects, all of which stay. To search them for garbage would take a sixth of the time to
        # the first image now, and 0.3 s of each later change of model or shape.
        gc.freeze()
        gc.enable()
        report(protocol.Started(str(self._device), self._device_name))

    def serve(self) -> None:
        """Follow orders for ever; nothing a model does ends the process but a crash or the loss of the device."""
        while True:
            self._take_orders(wait=not self._busy)
            self._fill()
            if self._slots is not None and len(self._slots):
                self._tick()

    @property
    def _busy(self) -> bool:
        return bool(self._ahead) or (self._slots is not None and len(self._slots) > 0)

    # ── orders ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _take_orders(self, wait: bool) -> None:
        """Take what has come in; wait for one where there is nothing to do."""
        while (order := self._orders.next(wait)) is not None:
            wait = False
            match order:
                case protocol.Enter():
                    self._ahead.append(order)
                    self._residents.read_ahead(order.card)
                case protocol.Pin(models=models):
                    self._residents.pin(models)
                case protocol.Cancel(job_id=job_id):
                    self._cancel(job_id)
                case protocol.Load(card=card):
                    if self._busy:
                        self._residents.read_ahead(card)
                    else:
                        self._have(card)

    def _cancel(self, job_id: str) -> None:
        """Drop an image that waits or is on its way; one that left its slot is delivered."""
        before = len(self._ahead)
        self._ahead = deque(order for order in self._ahead if order.item.job_id != job_id)
        if len(self._ahead) < before or (self._slots is not None and self._slots.leave(job_id)):
            self._report(protocol.Cancelled(job_id))

    # ── slots ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _fill(self) -> None:
        """Let what waits into the free slots, and open others where the present ones are empty."""
        while self._ahead:
            order = self._ahead[0]
            if self._slots is None or not _same_slots(order, self._opened):
                if self._slots is not None and len(self._slots):
                    return
                if not self._open(order):
                    self._ahead.popleft()
                    continue
            assert self._slots is not None  # noqa: S101  they were open or just opened
            if not self._slots.free:
                return
            self._ahead.popleft()
            try:
                with self._computing():
                    self._slots.enter(order.item)
            except Exception as error:
                log.exception("An image could not enter")
                self._broke(error, order.item)

    def _open(self, order: protocol.Enter) -> bool:
        """Open slots for an order; False, and its job failed, where its model cannot be had."""
        self._slots, self._opened = None, None
        self._residents.collect()
        if order.make_room:
            self._residents.make_room_beside(order.card)
        if self._residents.get(order.card) is None:
            jobs = tuple(ahead.item.job_id for ahead in self._ahead if ahead.card == order.card)
            self._report(protocol.Progress(jobs, "loading"))
        failure = self._have(order.card)
        if failure is not None:
            self._report(protocol.Failed(order.item.job_id, *failure, "machine"))
            return False
        model = self._residents.get(order.card)
        assert model is not None  # noqa: S101  _have said so
        kind = self._slot_kind if order.card.slots and self._fits(model.pipeline) else self._batch_kind
        size = self._call.Size(order.width, order.height, order.steps, order.guidance)
        self._memory.forget_peak(self._device)
        self._slots = kind(model, size, order.shape, self._watch)
        self._opened, self._measured = order, None
        return True

    def _tick(self) -> None:
        assert self._slots is not None  # noqa: S101  the caller looked
        slots = self._slots
        try:
            with self._computing():
                slots.tick()
        except Exception as error:
            log.exception("A denoiser call failed")
            self._broke(error)
            return
        self._tell_steps(at_once=False)
        seconds = slots.seconds_per_step
        if seconds is not None and (self._measured is None or abs(seconds / self._measured - 1) > NEWS):
            self._measured = seconds
            size = slots.size
            self._report(
                protocol.Measured(
                    slots.model.card.name,
                    _measured_as(slots.model),
                    size.width,
                    size.height,
                    slots.shape,
                    seconds,
                    self._memory.peak_bytes(self._device),
                )
            )

    def _broke(self, error: Exception, entering: Item | None = None) -> None:
        """A denoiser call failed: nothing of what is in these slots, or waits for one of them, can go on."""
        if self._faults.is_fatal(error):
            raise error
        opened, slots = self._opened, self._slots
        assert opened is not None  # noqa: S101  slots were open
        assert slots is not None  # noqa: S101  slots were open
        self._tell_steps()
        lost = [item.job_id for item in slots.clear()]
        self._faults.forget_frames(error)
        slots.model.restore()
        if entering is not None and entering.job_id not in lost:
            lost.append(entering.job_id)
        lost += [order.item.job_id for order in self._ahead if _same_slots(order, opened)]
        self._ahead = deque(order for order in self._ahead if not _same_slots(order, opened))
        self._slots, self._opened = None, None
        self._report(self._broken(error, opened, slots.model, lost))

    def _broken(
        self, error: Exception, opened: protocol.Enter, model: "LoadedModel", lost: list[str]
    ) -> protocol.Broke:
        """What to report of an error and the jobs lost to it. Where memory ran out, other models make room."""
        card, reason = opened.card, self._reason(error)
        return protocol.Broke(
            reason,
            f"{type(error).__name__}: {error}",
            tuple(lost),
            card.name,
            _measured_as(model),
            opened.width,
            opened.height,
            opened.shape,
            made_room=reason == "out_of_memory" and self._residents.make_room_beside(card),
        )

    # ── outcomes ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _watch(self, outcome: "Outcome") -> None:
        """Pass on what became of an image in its slot."""
        match outcome:
            case self._call.Stepped(item=item, step=step):
                self._stepped.append(protocol.Step(item.job_id, step, time.time()))
                assert self._opened is not None  # noqa: S101  a slot is open
                if step >= self._opened.steps:
                    self._tell_steps()
                    self._report(protocol.Progress((item.job_id,), "decoding"))
                if isinstance(self._slots, self._batch_kind):
                    # The call runs to its end, so this is the only chance to hear of a cancel, to give signs of life, and to
                    # let the next model be read.
                    self._pause()
                    self._tell_steps(at_once=False)
                    self._take_orders(wait=False)
            case self._call.Denoised():
                assert self._slots is not None  # noqa: S101  it came from a slot
                assert self._opened is not None  # noqa: S101  a slot is open
                self._tell_steps()
                try:
                    picture = self._call.picture(outcome)
                except Exception as error:
                    log.exception("The image of job %s could not be taken from its slot", outcome.item.job_id)
                    self._failed(outcome.item, error)
                    return
                self._report(protocol.Freed(outcome.item.job_id))
                self._finishing.finish(picture, self._recipe(self._opened, outcome.item, self._slots.model))
            case self._call.Broke(item=item, error=error):
                assert self._slots is not None  # noqa: S101  it came from a slot
                log.error("Job %s broke", item.job_id, exc_info=error)
                self._faults.forget_frames(error)
                self._slots.model.restore()
                self._tell_steps()
                assert self._opened is not None  # noqa: S101  a slot is open
                broken = self._broken(error, self._opened, self._slots.model, [item.job_id])
                if broken.made_room:
                    self._report(broken)
                else:
                    self._failed(item, error)

    def _failed(self, item: Item, error: Exception) -> None:
        """One image's own failure."""
        self._report(protocol.Failed(item.job_id, self._reason(error), f"{type(error).__name__}: {error}", "machine"))

    def _reason(self, error: Exception) -> str:
        return "out_of_memory" if self._faults.is_out_of_memory(error) else "pipeline_error"

    def _tell_steps(self, *, at_once: bool = True) -> None:
        """Report the steps done; unless `at_once`, only where the last report is some time ago."""
        if not self._stepped or (not at_once and time.monotonic() - self._told < TELL_S):
            return
        assert self._opened is not None  # noqa: S101  a slot is open
        self._report(protocol.Steps(tuple(self._stepped), self._opened.steps))
        self._stepped, self._told = [], time.monotonic()

    def _recipe(self, order: protocol.Enter, item: Item, model: "LoadedModel") -> Recipe:
        return Recipe(
            model=order.card.name,
            revision=model.revision,
            pipeline=type(model.pipeline).__name__,
            prompt=item.prompt,
            negative_prompt=item.negative_prompt,
            seed=item.seed,
            width=order.width,
            height=order.height,
            steps=order.steps,
            guidance=order.guidance,
            scheduler=type(model.pipeline.scheduler).__name__,
            dtype=order.card.dtype,
            settings=settings_digest(order.card),
            batch_shape=order.shape,
            device=self._device.type,
            device_name=self._device_name,
            versions=self._versions,
        )

    # ── models ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _have(self, card: ModelCard) -> tuple[str, str] | None:
        """The model of this card in memory; else the reason and message of the failure. Only while no image is on its way."""
        if self._residents.get(card) is not None:
            return None
        # Slots keep their model alive, which might be the one to make room.
        self._slots, self._opened = None, None
        self._report(protocol.Loading(card.name))
        started = time.perf_counter()
        try:
            model = self._residents.load(card)
        except Exception as error:
            if self._faults.is_fatal(error):
                raise
            log.exception("%s could not be loaded", card.name)
            reason = "model_load_failed"
            if self._faults.is_out_of_memory(error):
                reason, message = "out_of_memory", f"{card.name} does not fit into memory ({type(error).__name__})"
            else:
                message = (
                    str(error) if isinstance(error, self._loader.CannotLoad) else f"{type(error).__name__}: {error}"
                )
            self._report(protocol.LoadFailed(card.name, message))
            return reason, message
        self._report(protocol.Loaded(card.name, model.revision, round(time.perf_counter() - started, 3)))
        return None


def _starts_otherwise(start: str, record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(start)


def _same_slots(order: protocol.Enter, opened: protocol.Enter | None) -> bool:
    """Whether an order is for slots like those opened for another one, and may share them."""
    if opened is None or order.alone:
        return False
    return msgspec.structs.replace(order, item=opened.item, make_room=opened.make_room) == opened


def _measured_as(model: "LoadedModel") -> str:
    """The revision, with what else decides what a step costs."""
    return f"{model.revision} {model.card.dtype}" + ("" if model.card.slots else ", whole batches")


def main() -> None:
    descriptor, device, memory_gib, logs = int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), Path(sys.argv[4])
    # Until everything is imported; see Engine.
    gc.disable()
    os.set_inheritable(descriptor, False)
    logs.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        handlers=[
            RotatingFileHandler(logs / "gpu-process.log", maxBytes=10_000_000, backupCount=3),
            logging.StreamHandler(),
        ],
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)
    # cuBLAS is only deterministic with a fixed workspace, which it reads once.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    pipe = Connection(descriptor)
    orders = Orders(pipe)

    sending = threading.Lock()

    def report(message: protocol.Report) -> None:
        with sending:
            pipe.send_bytes(encode(message))

    try:
        Engine(device, memory_gib, orders, report).serve()
    except Exception:
        log.exception("The GPU process cannot go on")
        sys.exit(1)


if __name__ == "__main__":
    main()
