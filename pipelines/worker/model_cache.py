"""Which models are in the device's memory: several share it, the least recently used make room, pinned ones stay."""

import ctypes
import gc
import logging
import resource
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import msgspec
import psutil
import torch

from pipelines.denoising.traced_calls import Recordings
from pipelines.model_card import ModelCard
from pipelines.worker.default_dtype import building
from pipelines.worker.loader import LoadedModel, fetch, load
from pipelines.worker.torch_errors import forget_frames, is_out_of_memory

log = logging.getLogger(__name__)

#: Part of the device's memory that models may fill; the rest is for what a run needs beside the weights.
_FOR_WEIGHTS = 0.7


#: From malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def limit_memory(device: torch.device, limit_bytes: int) -> None:
    """Let this process take at most so much memory from now on: of the GPU, or on a CPU beside what it holds already."""
    if device.type == "cuda":
        total = torch.cuda.mem_get_info(device)[1]
        torch.cuda.set_per_process_memory_fraction(min(1.0, limit_bytes / total), device)
        return
    # Tensors in mappings of their own, so that what is freed no longer counts; the heap would keep the holes.
    ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 2**20)
    held = int(Path("/proc/self/status").read_text().split("VmData:")[1].split()[0]) * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (held + limit_bytes, resource.RLIM_INFINITY))


def keep_memory() -> None:
    """Let what is freed on a CPU stay with this process until forget_peak.

    A decoder's arrays are of tens of MiB. To get them from the system anew, zeroed and in huge pages, for every image took
    a quarter of its time.
    """
    for option in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD):
        ctypes.CDLL(None).mallopt(option, 2**30)


def forget_peak(device: torch.device) -> None:
    """Begin to look for the peak anew."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        ctypes.CDLL(None).malloc_trim(0)
        # "5" resets the peak of the resident set (proc(5), clear_refs).
        Path("/proc/self/clear_refs").write_text("5")


def peak_bytes(device: torch.device) -> int:
    """The most memory this process has held at once since forget_peak."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


class Residents:
    """The models in memory by name, least recently used first."""

    def __init__(self, device: torch.device, limit_bytes: int | None, evicted: Callable[[str], None]) -> None:
        self._device, self._evicted = device, evicted
        total = torch.cuda.mem_get_info(device)[1] if device.type == "cuda" else psutil.virtual_memory().total
        # On CUDA Python runs ahead of the device; and where memory is short, that of recordings is better spent.
        self._recorded = device.type == "cpu" and limit_bytes is None
        self._for_weights = int((limit_bytes or total) * _FOR_WEIGHTS)
        self._resident: OrderedDict[str, LoadedModel] = OrderedDict()
        self._sizes: dict[str, int] = {}
        self._pinned: frozenset[str] = frozenset()
        self._ahead: _Reading | None = None

    def get(self, card: ModelCard) -> LoadedModel | None:
        """The model with this card, where its weights are in memory; it is the most recently used now."""
        model = self._resident.get(card.name)
        if model is None or model.card.weights != card.weights:
            return None
        self._resident.move_to_end(card.name)
        return model if model.card == card else msgspec.structs.replace(model, card=card)

    def pin(self, names: Collection[str]) -> None:
        """These models, and no others, never make room."""
        self._pinned = frozenset(names)

    def read_ahead(self, card: ModelCard) -> None:
        """Begin to read a model into host memory, in a thread, while another one works."""
        if self.get(card) is None and (self._ahead is None or self._ahead.card.weights != card.weights):
            self._ahead = _Reading(card)

    def load(self, card: ModelCard) -> LoadedModel:
        """Have the model on the device. Raises loader.CannotLoad, and what the device raises where it does not fit."""
        model = self._read(card)
        if card.name in self._resident:
            # The card was edited: what it says now is another model.
            self._evict(card.name)
        size = weight_bytes(model.pipeline)
        while sum(self._sizes.values()) + size > self._for_weights and self._make_room():
            pass
        while True:
            try:
                model.pipeline.to(self._device)
                break
            except Exception as error:
                if not is_out_of_memory(error) or not self._make_room():
                    raise
        self._resident[card.name], self._sizes[card.name] = model, size
        return model

    def make_room_beside(self, card: ModelCard) -> bool:
        """Give up every model that is neither this one nor pinned; False where there is none."""
        others = [name for name in self._resident if name != card.name and name not in self._pinned]
        for name in others:
            self._evict(name)
        if self._device.type == "cpu" and self._ahead is not None and self._ahead.card.name != card.name:
            # What is read ahead has taken the same memory.
            self._ahead = None
            self.collect()
            return True
        return bool(others)

    def collect(self) -> None:
        """Give back to the device what is no longer referred to."""
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _read(self, card: ModelCard) -> LoadedModel:
        """Read a model into host memory, or take the one read ahead."""
        while True:
            reading, self._ahead = self._ahead, None
            if reading is None or reading.card.weights != card.weights or reading.failed:
                reading = _Reading(card)
            try:
                model = reading.result()
            except Exception as error:
                # On a CPU host memory is the device's.
                if not is_out_of_memory(error) or not self._make_room():
                    raise
            else:
                recordings = Recordings() if self._recorded else None
                return msgspec.structs.replace(model, card=card, recordings=recordings)
            del reading
            self.collect()

    def _make_room(self) -> bool:
        """Give up the least recently used model that is not pinned; False where there is none."""
        name = next((name for name in self._resident if name not in self._pinned), None)
        if name is None:
            return False
        self._evict(name)
        return True

    def _evict(self, name: str) -> None:
        log.info("%s makes room", name)
        del self._resident[name], self._sizes[name]
        self.collect()
        self._evicted(name)


class _Reading:
    """A model on its way from disk to host memory."""

    def __init__(self, card: ModelCard) -> None:
        self.card = card
        self._model: LoadedModel | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._read, name=f"reading-{card.name}", daemon=True)
        self._thread.start()

    @property
    def failed(self) -> bool:
        """It has ended without a model; what stood in its way may be gone."""
        return self._error is not None

    def result(self) -> LoadedModel:
        """Waits for it. Raises what reading it raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        assert self._model is not None  # noqa: S101  one of the two is set
        return self._model

    def _read(self) -> None:
        try:
            fetch(self.card)
            with building():
                self._model = load(self.card)
        except BaseException as error:  # noqa: BLE001  it is raised again where the model is wanted
            forget_frames(error)
            self._error = error


def weight_bytes(pipeline: Any) -> int:
    """Bytes of all parameters and buffers."""
    modules = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    tensors = [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
