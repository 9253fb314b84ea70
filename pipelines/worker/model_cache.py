"""The model cache: several models share the device's memory, the least recently used are evicted, pinned ones stay."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import Any

import msgspec
import torch

from pipelines.model_card import ModelCard
from pipelines.worker.default_dtype import building
from pipelines.worker.device_memory import release_unused, total_bytes
from pipelines.worker.loader import LoadedModel, fetch, load
from pipelines.worker.torch_errors import forget_frames, is_out_of_memory

log = logging.getLogger(__name__)

#: The part of the device's memory that models may fill; the rest is for what a run needs beside the weights.
_FOR_WEIGHTS = 0.7


class ModelCache:
    """The models in memory by name, least recently used first."""

    def __init__(self, device: torch.device, limit_bytes: int | None, evicted: Callable[[str], None]) -> None:
        """Share out `limit_bytes`, or all memory if that is None; `evicted` is called with each model that leaves."""
        self._device, self._evicted = device, evicted
        # On CUDA Python runs ahead of the device anyway; and if memory is short, that of traces is better spent.
        self._traced = device.type == "cpu" and limit_bytes is None
        self._for_weights = int((limit_bytes or total_bytes(device)) * _FOR_WEIGHTS)
        self._models: OrderedDict[str, LoadedModel] = OrderedDict()
        self._bytes: dict[str, int] = {}
        self._pinned: frozenset[str] = frozenset()
        self._prefetched: _Prefetch | None = None

    def get(self, card: ModelCard) -> LoadedModel | None:
        """Return the model with this card if its weights are in memory; it is the most recently used one now."""
        model = self._models.get(card.name)
        if model is None or model.card.weights != card.weights:
            return None
        self._models.move_to_end(card.name)
        return model if model.card == card else msgspec.structs.replace(model, card=card)

    def pin(self, names: Collection[str]) -> None:
        """Never evict these models; any other model may be evicted."""
        self._pinned = frozenset(names)

    def prefetch(self, card: ModelCard) -> None:
        """Begin to read a model into host memory, in a thread, while another one works."""
        if self.get(card) is None and (self._prefetched is None or self._prefetched.card.weights != card.weights):
            self._prefetched = _Prefetch(card, traced=self._traced)

    def load(self, card: ModelCard) -> LoadedModel:
        """Return the model, in the device's memory; models that are not pinned are evicted for it as needed.

        Raises loader.CannotLoad, and torch's error if it does not fit.
        """
        model = self._read(card)
        if card.name in self._models:
            # The card was edited: what it says now is another model.
            self._evict(card.name)
        size = weight_bytes(model.pipeline)
        while sum(self._bytes.values()) + size > self._for_weights and self._evict_oldest():
            pass
        while True:
            try:
                model.pipeline.to(self._device)
                break
            except Exception as error:
                if not is_out_of_memory(error) or not self._evict_oldest():
                    raise
        self._models[card.name], self._bytes[card.name] = model, size
        return model

    def idle_beside(self, card: ModelCard) -> list[str]:
        """Return the models, in memory or on their way into it, that are neither this one nor pinned."""
        names = [name for name in self._models if name != card.name and name not in self._pinned]
        if self._device.type == "cpu" and self._prefetched is not None and self._prefetched.card.name != card.name:
            # A prefetched model takes the same memory.
            names.append(self._prefetched.card.name)
        return names

    def evict(self, names: Collection[str]) -> None:
        """Drop these models, of `idle_beside`."""
        if self._prefetched is not None and self._prefetched.card.name in names:
            self._prefetched = None
        for name in names:
            if name in self._models:
                self._evict(name)
        release_unused(self._device)

    def _read(self, card: ModelCard) -> LoadedModel:
        """Read a model into host memory, or take the prefetched one."""
        while True:
            prefetch, self._prefetched = self._prefetched, None
            if prefetch is None or prefetch.card.weights != card.weights or prefetch.failed:
                prefetch = _Prefetch(card, traced=self._traced)
            try:
                model = prefetch.result()
            except Exception as error:
                # On a CPU host memory is the device's.
                if not is_out_of_memory(error) or not self._evict_oldest():
                    raise
            else:
                return msgspec.structs.replace(model, card=card)
            del prefetch
            release_unused(self._device)

    def _evict_oldest(self) -> bool:
        """Evict the least recently used model that is not pinned; return False if there is none."""
        name = next((name for name in self._models if name not in self._pinned), None)
        if name is None:
            return False
        self._evict(name)
        return True

    def _evict(self, name: str) -> None:
        log.info("%s is evicted", name)
        del self._models[name], self._bytes[name]
        release_unused(self._device)
        self._evicted(name)


class _Prefetch:
    """A model on its way from disk to host memory."""

    def __init__(self, card: ModelCard, *, traced: bool) -> None:
        self.card, self._traced = card, traced
        self._outcome: LoadedModel | BaseException | None = None
        self._thread = threading.Thread(target=self._read, name=f"reading-{card.name}", daemon=True)
        self._thread.start()

    @property
    def failed(self) -> bool:
        """Whether it has ended without a model; what stood in its way may be gone."""
        return isinstance(self._outcome, BaseException)

    def result(self) -> LoadedModel:
        """Wait for the model. Raises what reading it raised."""
        self._thread.join()
        if isinstance(self._outcome, LoadedModel):
            return self._outcome
        raise self._outcome or RuntimeError(f"{self.card.name} was not read")

    def _read(self) -> None:
        try:
            fetch(self.card)
            with building():
                self._outcome = load(self.card, traced=self._traced)
        except BaseException as error:  # noqa: BLE001  it is raised again when the model is wanted
            forget_frames(error)
            self._outcome = error


def weight_bytes(pipeline: Any) -> int:
    """Return the bytes of all parameters and buffers."""
    modules = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    tensors = [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
