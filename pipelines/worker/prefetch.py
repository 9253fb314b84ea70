"""Building a model in host memory, in a thread, while another model works."""

import threading
from contextvars import copy_context
from functools import partial

from pipelines.model_card import ModelCard
from pipelines.worker.default_dtype import building
from pipelines.worker.loader import LoadedModel, load
from pipelines.worker.torch_errors import forget_frames


class Prefetch:
    """A model on its way from disk to host memory."""

    def __init__(self, card: ModelCard, *, traced: bool) -> None:
        """Begin to read and build it; `traced` is as for loader.load."""
        self.card, self._traced = card, traced
        self._outcome: LoadedModel | BaseException | None = None
        # In the context of whoever began it, so that the log says for which image.
        read = partial(copy_context().run, self._read)
        self._thread = threading.Thread(target=read, name=f"prefetch-{card.name}", daemon=True)
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
        raise self._outcome or RuntimeError(f"the thread that read {self.card.name} ended without a word")

    def _read(self) -> None:
        try:
            with building():
                self._outcome = load(self.card, traced=self._traced)
        except BaseException as error:  # noqa: BLE001  it is raised again when the model is wanted
            forget_frames(error)
            self._outcome = error
