"""The orders of the server. A thread reads them from the pipe, so that Cancel is seen between two denoising steps."""

import logging
import os
import queue
import threading
from multiprocessing.connection import Connection

import msgspec

from pipelines.protocol import Order, decode_order

log = logging.getLogger(__name__)


class Orders:
    """The orders that the engine has not taken yet, oldest first.

    The reading thread ends the process at once if the server is gone, since nobody is left to report to, or if an order is
    of another version.
    """

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._waiting: queue.SimpleQueue[Order] = queue.SimpleQueue()
        threading.Thread(target=self._read, name="orders", daemon=True).start()

    def next(self, wait: bool) -> Order | None:
        """Return the next order; if there is none, wait for one or return None."""
        try:
            return self._waiting.get(block=wait)
        except queue.Empty:
            return None

    def _read(self) -> None:
        while True:
            try:
                order = decode_order(self._pipe.recv_bytes())
            except (EOFError, OSError):
                os._exit(0)
            except msgspec.MsgspecError:
                log.exception("An order cannot be read, as after an update of a running server; restart the server")
                os._exit(1)
            self._waiting.put(order)
