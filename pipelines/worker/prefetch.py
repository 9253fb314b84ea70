"""Reading a model's files ahead, while another model works.

A thread downloads what is missing and reads the files, so that the kernel keeps them in its page cache. It uses no torch:
diffusers and transformers set process-wide state while they build a model, which would change what runs beside them.
"""

import logging
import threading
from pathlib import Path

from pipelines.model_card import ModelCard
from pipelines.worker.hub import CannotLoad, fetch

log = logging.getLogger(__name__)

#: Bytes read at once.
_BLOCK = 4 * 2**20


class Prefetch:
    """The reading of one model's files, in a thread of its own."""

    def __init__(self, card: ModelCard) -> None:
        """Begin to read."""
        self.card = card
        self.bytes_read = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._read, name=f"prefetch-{card.name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Read no further; a download goes on until its end."""
        self._stopped.set()

    def wait(self) -> None:
        """Wait until everything is read, or cannot be."""
        self._thread.join()

    def _read(self) -> None:
        try:
            for path in sorted(fetch(self.card).rglob("*")):
                if path.is_file():
                    self._read_file(path)
        except (OSError, CannotLoad) as error:
            # Loading the model will meet the same error, and report it.
            log.warning("%s could not be prefetched: %s", self.card.name, error)

    def _read_file(self, path: Path) -> None:
        buffer = bytearray(_BLOCK)
        with path.open("rb", buffering=0) as file:
            while not self._stopped.is_set() and (count := file.readinto(buffer)):
                self.bytes_read += count
