"""The model cache: several models share the device's memory, the least recently used are evicted, pinned ones stay."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import Any, TypeVar

import msgspec
import torch

from pipelines.model_card import ModelCard
from pipelines.worker.device_memory import release_unused, total_bytes
from pipelines.worker.loader import LoadedModel, load
from pipelines.worker.prefetch import Prefetch
from pipelines.worker.torch_errors import is_out_of_memory

log = logging.getLogger(__name__)

T = TypeVar("T")

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
        self._prefetch: Prefetch | None = None

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
        """Begin to read the model's files into the page cache while another model works; `load` then finds them there."""
        if self.get(card) is not None:
            return
        if self._prefetch is not None:
            if self._prefetch.card.weights == card.weights:
                return
            self._prefetch.stop()
        self._prefetch = Prefetch(card)

    def load(self, card: ModelCard) -> LoadedModel:
        """Return the model, in the device's memory; models that are not pinned are evicted for it as needed.

        Raises loader.CannotLoad, and torch's error if it does not fit.
        """
        # On a CPU host memory is the device's.
        model = self._with_room(lambda: load(card, traced=self._traced))
        # What was read ahead may leave the page cache from now on, and so be worth reading again.
        self._prefetch = None
        if card.name in self._models:
            # The card was edited: what it says now is another model.
            self._evict(card.name)
        size = weight_bytes(model.pipeline)
        while sum(self._bytes.values()) + size > self._for_weights and self._evict_oldest():
            pass
        self._with_room(lambda: model.pipeline.to(self._device))
        self._models[card.name], self._bytes[card.name] = model, size
        return model

    def idle_beside(self, card: ModelCard) -> list[str]:
        """Return the models in memory that are neither this one nor pinned."""
        return [name for name in self._models if name != card.name and name not in self._pinned]

    def evict(self, names: Collection[str]) -> None:
        """Drop these models, of `idle_beside`."""
        for name in names:
            self._evict(name)

    def _with_room(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, evicting one model after the other for as long as memory runs out in it."""
        while True:
            try:
                return work()
            except Exception as error:
                if not is_out_of_memory(error) or not self._evict_oldest():
                    raise
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


def weight_bytes(pipeline: Any) -> int:
    """Return the bytes of all parameters and buffers."""
    modules = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    tensors = [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
