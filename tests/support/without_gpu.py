"""`python -m tests.support.without_gpu`: the server, with a GPU process that is a fake."""

import asyncio
import time
from collections.abc import Callable

import msgspec

from pipelines import protocol
from pipelines.failure_reason import FailureReason, Fault
from server.__main__ import main
from server.scheduler.devices import Device, local_devices
from server.settings import Settings
from tests.support.fake_process import FakeProcess


class QuickProcess(FakeProcess):
    """A fake process that is up at once, and generates every image a moment after it was ordered.

    An image whose prompt says `endless` stops at half of its steps, one whose prompt says `broken` fails, and one whose
    prompt says `deaf` too ignores a cancel.
    """

    #: Calls of the denoiser so far.
    _calls = 0

    def __init__(self, pid: int) -> None:
        super().__init__(pid)
        self._deaf: set[str] = set()

    def follow(self, on_report: Callable[[protocol.Report], None], on_exit: Callable[[int], None]) -> None:
        super().follow(on_report, on_exit)
        asyncio.get_running_loop().call_soon(self.start)

    def send(self, order: protocol.Order) -> None:
        super().send(order)
        loop = asyncio.get_running_loop()
        if isinstance(order, protocol.Generate) and "deaf" in order.item.prompt:
            self._deaf.add(order.item.image_id)
        match order:
            case protocol.Load(card=card):
                loop.call_soon(self.report, protocol.Loaded(card.name, "revision", 0.0))
            case protocol.Unload(model=model):
                loop.call_soon(self.report, protocol.Evicted(model))
            case protocol.Generate(item=item) if "broken" in item.prompt:
                message = "the fake breaks as asked"
                failed = protocol.Failed(item.image_id, FailureReason.PIPELINE_ERROR, message, Fault.MACHINE)
                loop.call_later(0.05, self.report, failed)
            case protocol.Generate(item=item, steps=steps) if "endless" in item.prompt:
                loop.call_later(0.02, self._denoise, item.image_id, max(1, steps // 2), steps)
            case protocol.Generate(item=item, steps=steps):
                loop.call_later(0.02, self._denoise, item.image_id, steps, steps)
                loop.call_later(0.05, self.generate, item.image_id)
            case protocol.Cancel(image_id=image_id) if image_id not in self._deaf:
                loop.call_soon(self.report, protocol.Cancelled(image_id))

    def report(self, report: protocol.Report) -> None:
        super().report(report)
        # The process may run for hours, and no test looks into its orders.
        if isinstance(report, protocol.Generated | protocol.Failed | protocol.Cancelled):
            self._deaf.discard(report.image_id)
            self.forget(report.image_id)

    def _denoise(self, image_id: str, done_steps: int, steps: int) -> None:
        done = []
        for step in range(1, done_steps + 1):
            self._calls += 1
            done.append(protocol.Step(image_id, step, time.time(), self._calls))
        self.report(protocol.Steps(tuple(done), steps))


def quick_devices(settings: Settings) -> list[Device]:
    """Return a fake for each device that the settings name."""
    return [msgspec.structs.replace(device, start=lambda: QuickProcess(pid=0)) for device in local_devices(settings)]


if __name__ == "__main__":
    main(quick_devices)
