"""Unloads models that no image has needed for as long as their cards allow."""

import asyncio
from collections.abc import Callable, Iterable

from pipelines.model_card import ModelCard


class IdleModels:
    """Unloads each idle model of one GPU when its card's time is up."""

    def __init__(self, unload: Callable[[str], None]) -> None:
        """Take the function to call with the name of a model whose time is up."""
        self._unload = unload
        #: For each idle model, the seconds that its card allows, and the timer.
        self._timers: dict[str, tuple[float, asyncio.TimerHandle]] = {}

    def set_idle(self, cards: Iterable[ModelCard]) -> None:
        """Note which models are idle now. The time of one that was idle before goes on, unless its card was edited."""
        allowed = {card.name: card.limits.idle_unload_s for card in cards if card.limits.idle_unload_s is not None}
        for model, (seconds, timer) in list(self._timers.items()):
            if allowed.get(model) != seconds:
                timer.cancel()
                del self._timers[model]
        for model, seconds in allowed.items():
            if model not in self._timers:
                self._timers[model] = seconds, asyncio.get_running_loop().call_later(seconds, self._unload, model)
