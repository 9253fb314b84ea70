"""`python -m benchmarks.sleeping_worker FD …`: a GPU process whose step is a sleep, and whose images are real files.

It speaks the protocol over the pipe as the real one does, so everything but the model is the product's own.
"""

import sys
import threading
import time
from collections import deque
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from pipelines import protocol
from pipelines.output.png import write_png
from pipelines.protocol import Generate, Report, Stage, Step, encode
from pipelines.worker.orders import Orders
from tests.support.fake_process import recipe_of

STEP_S = 0.1
STEPS_REPORT_S = 0.25


class SleepingEngine:
    """Fills slots and lets all of them do a step together, as an engine does."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._orders = Orders(pipe)
        self._sending = threading.Lock()
        self._waiting: deque[Generate] = deque()
        #: The images in slots, and how many steps of each are done.
        self._slots: dict[str, tuple[Generate, int]] = {}
        self._steps: list[Step] = []
        self._reported = 0.0

    def serve(self) -> None:
        """Follow orders until the server is gone."""
        self._report(protocol.DevicesFound(0))
        self._report(protocol.Started("cpu", f"a sleep of {STEP_S:g} s", "0"))
        while True:
            self._take_orders()
            while self._waiting and len(self._slots) < self._waiting[0].batch_size:
                order = self._waiting.popleft()
                self._slots[order.item.image_id] = (order, 0)
            if self._slots:
                self._tick()

    def _take_orders(self) -> None:
        while (order := self._orders.next(wait=not (self._slots or self._waiting))) is not None:
            match order:
                case Generate():
                    self._waiting.append(order)
                case protocol.Load(card=card):
                    self._report(protocol.Loaded(card.name, "revision", 0.0))
                case protocol.Cancel(image_id=image_id):
                    left = deque(order for order in self._waiting if order.item.image_id != image_id)
                    if self._slots.pop(image_id, None) is not None or len(left) < len(self._waiting):
                        self._report(protocol.Cancelled(image_id))
                    self._waiting = left
                case protocol.Pin():
                    pass
            if self._slots or self._waiting:
                continue
            return

    def _tick(self) -> None:
        time.sleep(STEP_S)
        steps = next(iter(self._slots.values()))[0].steps
        for image_id, (order, done) in list(self._slots.items()):
            self._slots[image_id] = (order, done + 1)
            self._steps.append(Step(image_id, done + 1, time.time()))
            if done + 1 >= order.steps:
                self._report_steps(steps)
                self._finish(order)
        if time.monotonic() - self._reported >= STEPS_REPORT_S:
            self._report_steps(steps)

    def _finish(self, order: Generate) -> None:
        image_id = order.item.image_id
        del self._slots[image_id]
        self._report(protocol.StageReached((image_id,), Stage.DECODING))
        self._report(protocol.LeftSlot(image_id))
        write_png(Path(order.item.path), np.zeros((64, 64, 3), np.uint8), recipe_of(order))
        self._report(
            protocol.Generated(image_id, recipe_of(order), None, None, {"denoising_s": 1.0, "decoding_s": 0.0})
        )

    def _report_steps(self, steps: int) -> None:
        if self._steps:
            self._report(protocol.Steps(tuple(self._steps), steps))
            self._steps, self._reported = [], time.monotonic()

    def _report(self, report: Report) -> None:
        with self._sending:
            self._pipe.send_bytes(encode(report))


if __name__ == "__main__":
    SleepingEngine(Connection(int(sys.argv[1]))).serve()
