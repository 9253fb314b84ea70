"""`python -m tests.support.without_gpu`: the server, with a GPU process that is a fake."""

import asyncio
from collections.abc import Callable

from pipelines import protocol
from pipelines.failure_reason import FailureReason, Fault
from server.__main__ import main
from tests.support.fake_process import FakeProcess


class QuickProcess(FakeProcess):
    """Is up at once, and generates every image a moment after it was ordered.

    One whose prompt says `endless` never ends, and one whose prompt says `broken` fails.
    """

    def follow(self, on_report: Callable[[protocol.Report], None], on_exit: Callable[[int], None]) -> None:
        super().follow(on_report, on_exit)
        asyncio.get_running_loop().call_soon(self.start)

    def send(self, order: protocol.Order) -> None:
        super().send(order)
        loop = asyncio.get_running_loop()
        match order:
            case protocol.Load(card=card):
                loop.call_soon(self.report, protocol.Loaded(card.name, "revision", 0.0))
            case protocol.Unload(model=model):
                loop.call_soon(self.report, protocol.Evicted(model))
            case protocol.Generate(item=item) if "broken" in item.prompt:
                message = "the fake breaks as asked"
                failed = protocol.Failed(item.image_id, FailureReason.PIPELINE_ERROR, message, Fault.MACHINE)
                loop.call_later(0.05, self.report, failed)
            case protocol.Generate(item=item) if "endless" not in item.prompt:
                loop.call_later(0.05, self.generate, item.image_id)
            case protocol.Cancel(image_id=image_id):
                loop.call_soon(self.report, protocol.Cancelled(image_id))


if __name__ == "__main__":
    main(lambda _: lambda: QuickProcess(pid=0))
