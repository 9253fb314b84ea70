"""The cost meter: what a denoising step of a slot group costs on this device, and when that is news for the server."""

import torch

from pipelines.denoising.call import CallSettings
from pipelines.model_card import cost_digest
from pipelines.protocol import Measured
from pipelines.worker.device_memory import forget_peak, peak_bytes
from pipelines.worker.loader import LoadedModel

#: Report a cost again if it differs by more than this part from the one that was reported.
COST_CHANGE = 0.1


class CostMeter:
    """The costs of one slot group since its slots opened, compared with those that the server was told."""

    def __init__(self, model: LoadedModel, settings: CallSettings, batch_size: int, device: torch.device) -> None:
        self._model, self._settings, self._batch_size, self._device = model, settings, batch_size, device
        forget_peak(device)
        #: Bytes that were in use when the slots opened.
        self._held = peak_bytes(device)
        self._has_decoded = False
        #: Whether something else took memory since, so that the peak does not say what the images took.
        self._memory_is_shared = False
        #: The costs that the server was last told: the seconds of a step, and the bytes that the images took.
        self._told_seconds: float | None = None
        self._told_working: int | None = None

    def note_decoded(self) -> None:
        """Note that an image was decoded, which may take more memory than a step."""
        self._has_decoded = True

    def share_memory(self) -> None:
        """Note that something else takes memory from now on."""
        self._memory_is_shared = True

    def news(self, seconds: float | None) -> Measured | None:
        """Return a report of the cost if these seconds of a step, or its memory, are news; otherwise None."""
        if seconds is None:
            return None
        peak = peak_bytes(self._device)
        working = peak - self._held if self._has_decoded and not self._memory_is_shared else None
        if not _is_news(seconds, self._told_seconds) and not _is_news(working, self._told_working):
            return None
        self._told_seconds, self._told_working = seconds, working
        return self._report(seconds, peak, working)

    def did_not_fit(self) -> Measured:
        """Return the report that this batch size does not fit into memory."""
        return self._report(None, None, None)

    def _report(self, seconds: float | None, peak: int | None, working: int | None) -> Measured:
        return Measured(
            self._model.card.name,
            f"{self._model.revision} {cost_digest(self._model.card)}",
            self._settings.width,
            self._settings.height,
            self._batch_size,
            seconds,
            peak,
            working,
        )


def _is_news(found: float | None, told: float | None) -> bool:
    """Return whether a cost differs by more than COST_CHANGE from the one that was told."""
    if found is None or told is None:
        return found is not None
    return abs(found - told) > COST_CHANGE * told
