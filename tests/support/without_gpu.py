"""`python -m tests.support.without_gpu`: the server, with a GPU process that is a fake."""

import asyncio
from collections.abc import Callable

from pipelines import protocol
from server.__main__ import serve
from server.settings import read_settings
from tests.support.fake_process import FakeProcess


class QuickProcess(FakeProcess):
    """Is up at once, and generates every image a moment after it was ordered."""

    def follow(self, on_report: Callable[[protocol.Report], None], on_exit: Callable[[int], None]) -> None:
        super().follow(on_report, on_exit)
        asyncio.get_running_loop().call_soon(self.start)

    def send(self, order: protocol.Order) -> None:
        super().send(order)
        if isinstance(order, protocol.Generate):
            asyncio.get_running_loop().call_later(0.05, self.generate, order.item.image_id)


if __name__ == "__main__":
    serve(read_settings(), lambda: QuickProcess(pid=0))
