"""The model cache: several models share the device's memory; the least recently used are evicted, and pinned ones stay."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import TypeVar

import msgspec
import torch

from pipelines.model_card import ModelCard
from pipelines.worker.device_memory import free_bytes, release_unused, total_bytes
from pipelines.worker.loader import CannotLoad, LoadedModel, TooLarge
from pipelines.worker.memory_options import OptionRefused, bytes_on_device, place
from pipelines.worker.prefetch import Prefetch
from pipelines.worker.speed_options import try_attention
from pipelines.worker.torch_errors import is_out_of_memory

log = logging.getLogger(__name__)

T = TypeVar("T")

#: The part of the device's memory that models may fill. Images need the rest.
_FOR_WEIGHTS = 0.7


class ModelCache:
    """The models in memory by name, least recently used first."""

    def __init__(self, device: torch.device, limit_bytes: int | None, evicted: Callable[[str], None]) -> None:
        """Share `limit_bytes` among models, or all memory if that is None. Call `evicted` with each model that leaves."""
        self._device, self._evicted = device, evicted
        # On CUDA Python runs ahead of the device anyway; and if memory is limited, models need that of traces more.
        self._traced = device.type == "cpu" and limit_bytes is None
        self._limit = limit_bytes or total_bytes(device)
        self._for_weights = int(self._limit * _FOR_WEIGHTS)
        self._models: OrderedDict[str, LoadedModel] = OrderedDict()
        self._bytes: dict[str, int] = {}
        self._pinned: frozenset[str] = frozenset()
        self._prefetch: Prefetch | None = None
        #: Whether memory ran out beside the model that works. A prefetched one would take the memory that was just freed.
        self._is_short = False

    def get(self, card: ModelCard) -> LoadedModel | None:
        """Return the model with this card if it is in memory, and make it the most recently used one; otherwise None."""
        model = self._models.get(card.name)
        if model is None or model.card.in_memory != card.in_memory:
            return None
        self._models.move_to_end(card.name)
        return model if model.card == card else msgspec.structs.replace(model, card=card)

    def pin(self, names: Collection[str]) -> None:
        """Never evict these models; any other model may be evicted."""
        self._pinned = frozenset(names)

    def prefetch(self, card: ModelCard, image_bytes: int | None = None) -> None:
        """Begin to build the model in host memory while another one works; `load` then takes it from there.

        `image_bytes` is what an image was measured to take beside the weights; None if unmeasured. Nothing is built if that
        and the weights are too large. After models were evicted because memory was short, nothing is prefetched until a model
        is loaded.
        """
        if self._is_short or self.get(card) is not None:
            return
        if self._prefetch is not None and self._prefetch.card.in_memory != card.in_memory:
            self._prefetch.stop()
            self._prefetch = None
        if self._prefetch is None:
            self._prefetch = self._begin(card, image_bytes)

    def load(self, card: ModelCard, image_bytes: int | None = None) -> LoadedModel:
        """Return the model in the device's memory; evict models that are not pinned if it needs the room.

        `image_bytes` is as for prefetch. Raises loader.CannotLoad, loader.TooLarge before anything is read if the weights and
        one image do not fit, and torch's error if memory runs out all the same.
        """
        # Building may run out of memory too: on a CPU host memory is the device's.
        model = msgspec.structs.replace(self._with_room(lambda: self._built(card, image_bytes)), card=card)
        self._is_short = False
        if card.name in self._models:
            # The card was edited, and the model in memory is that of the old card.
            self._evict(card.name)
        size = bytes_on_device(card, model.pipeline)
        while sum(self._bytes.values()) + size > self._for_weights and self._evict_oldest():
            pass
        try:
            try_attention(card, self._device)
            self._with_room(lambda: place(card, model.pipeline, self._device))
        except OptionRefused as error:
            raise CannotLoad(f"{card.name} cannot be used: {error}") from error
        self._models[card.name], self._bytes[card.name] = model, size
        return model

    def bytes_of(self, name: str) -> int:
        """Return the bytes that a model in memory takes."""
        return self._bytes[name]

    def unload(self, name: str) -> None:
        """Drop a model that no image needs, even if it is pinned or being prefetched. Do nothing if it is not there."""
        if self._prefetch is not None and self._prefetch.card.name == name:
            self._prefetch.stop()
            self._prefetch = None
        if name in self._models:
            self._evict(name)

    def idle_beside(self, card: ModelCard) -> list[str]:
        """Return the models, in memory or being prefetched into it, that are neither this one nor pinned."""
        names = [name for name in self._models if name != card.name and name not in self._pinned]
        if self._device.type == "cpu" and self._prefetch is not None and self._prefetch.card.name != card.name:
            # A prefetched model takes the same memory.
            names.append(self._prefetch.card.name)
        return names

    def evict(self, names: Collection[str]) -> None:
        """Drop these models, of `idle_beside`, because memory is short."""
        self._is_short = True
        prefetch = self._prefetch
        if prefetch is not None and prefetch.card.name in names:
            prefetch.stop()
            self._prefetch = None
            # Its memory is needed now.
            prefetch.wait()
        for name in names:
            if name in self._models:
                self._evict(name)
        release_unused(self._device)

    def _begin(self, card: ModelCard, image_bytes: int | None) -> Prefetch:
        """Begin to build a model, if it fits once all other models that are not pinned are evicted."""
        pinned = sum(size for name, size in self._bytes.items() if name in self._pinned and name != card.name)
        evictable = sum(self._bytes.values()) - pinned
        room = min(free_bytes(self._device) + evictable, self._limit - pinned)
        return Prefetch(card, self._device, room=room, image_bytes=image_bytes, traced=self._traced)

    def _built(self, card: ModelCard, image_bytes: int | None) -> LoadedModel:
        """Return the model in host memory, from its prefetch if there is one."""
        prefetch, self._prefetch = self._prefetch, None
        if prefetch is not None and prefetch.card.in_memory == card.in_memory and not prefetch.failed:
            # If it was too large when it began, there may be room by now.
            with suppress(TooLarge):
                return prefetch.result()
        elif prefetch is not None:
            prefetch.stop()
        return self._begin(card, image_bytes).result()

    def _with_room(self, work: Callable[[], T]) -> T:
        """Return what `work` returns; as long as memory runs out in it, evict one model after another and repeat it."""
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
