"""The prefetch: a model is built in host memory, in a thread, while another model works."""

import logging
import threading
from contextvars import copy_context
from functools import partial

import torch

from pipelines.memory_estimate import why_too_large
from pipelines.model_card import ModelCard
from pipelines.weight_files import BadWeights
from pipelines.worker.loader import UNREADABLE, CannotLoad, LoadedModel, TooLarge, folder_of, load
from pipelines.worker.torch_errors import forget_frames
from pipelines.worker.turns import building

log = logging.getLogger(__name__)

#: Seconds to wait for the component that is being read when a prefetch is stopped. After a longer wait the watchdog might end
#: the process.
_COMPONENT_S = 30.0


class Prefetch:
    """A model that is read from disk into host memory."""

    def __init__(
        self, card: ModelCard, device: torch.device, *, room: int, image_bytes: int | None, traced: bool
    ) -> None:
        """Begin to read and build the model for a device, if it fits into `room` bytes.

        `image_bytes` is as for why_too_large, `traced` as for loader.load.
        """
        self.card, self._device, self._room, self._image_bytes = card, device, room, image_bytes
        self._traced = traced
        self._unwanted = threading.Event()
        self._outcome: LoadedModel | BaseException | None = None
        # The thread has the context of its starter, so that the log says for which image it reads.
        read = partial(copy_context().run, self._read)
        self._thread = threading.Thread(target=read, name=f"prefetch-{card.name}", daemon=True)
        self._thread.start()

    @property
    def failed(self) -> bool:
        """Return whether it has ended without a model. Another try may succeed: the cause may be gone."""
        return isinstance(self._outcome, BaseException)

    def stop(self) -> None:
        """Let it read no further component."""
        self._unwanted.set()

    def wait(self) -> None:
        """Wait until it has ended, but at most _COMPONENT_S seconds."""
        self._thread.join(_COMPONENT_S)
        if self._thread.is_alive():
            log.warning("%s is still being read, though nobody wants it any more", self.card.name)

    def result(self) -> LoadedModel:
        """Wait for the model and return it. Raises TooLarge, and what reading it raised."""
        self._thread.join()
        if isinstance(self._outcome, LoadedModel):
            return self._outcome
        raise self._outcome or RuntimeError(f"the thread that read {self.card.name} ended without a word")

    def _read(self) -> None:
        try:
            if (problem := self._why_too_large()) is not None:
                raise TooLarge(problem)
            if self._device.type == "cuda":
                # Each thread has a current device of its own, and some ways of quantizing put weights on it at once.
                torch.cuda.set_device(self._device)
            with building():
                self._outcome = load(self.card, traced=self._traced, unwanted=self._unwanted)
        except BaseException as error:  # noqa: BLE001  it is raised again when the model is wanted
            forget_frames(error)
            self._outcome = error

    def _why_too_large(self) -> str | None:
        try:
            return why_too_large(
                self.card,
                folder_of(self.card),
                self._room,
                on_cpu=self._device.type == "cpu",
                image_bytes=self._image_bytes,
            )
        except (BadWeights, CannotLoad, *UNREADABLE):
            # The read that follows raises an error that says what is wrong.
            return None
