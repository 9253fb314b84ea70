"""GPU processes that are fakes: they keep the orders that they get, and report what a test tells them to.

They show a test what the server does about failures that no real process brings about in time.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pipelines import protocol
from pipelines.output.png import Pixels, write_png
from pipelines.recipe import Recipe

#: The colour of a picture for which no colours were asked.
GREY = (128, 128, 128)


class FakeProcess:
    """The server's end of a fake GPU process."""

    def __init__(self, pid: int, *, refuses: bool = False) -> None:
        """Make a process; if it `refuses`, the operating system refuses the threads that would follow it."""
        self.pid = pid
        self._refuses = refuses
        self.orders: list[protocol.Order] = []
        self.killed = self.cannot_be_killed = False
        self._orders_of: Counter[str] = Counter()
        self._answers_of: Counter[str] = Counter()
        self._on_report: Callable[[protocol.Report], None] | None = None
        self._on_exit: Callable[[int], None] | None = None

    # ── what the scheduler calls ─────────────────────────────────────────────────────────────────────────────────────

    def follow(self, on_report: Callable[[protocol.Report], None], on_exit: Callable[[int], None]) -> None:
        if self._refuses:
            raise OSError("can't start new thread")
        self._on_report, self._on_exit = on_report, on_exit

    def send(self, order: protocol.Order) -> None:
        self.orders.append(order)
        if isinstance(order, protocol.Generate):
            self._orders_of[order.item.image_id] += 1

    def kill(self) -> None:
        if self.cannot_be_killed:
            raise OSError("its box is not to be reached")
        self.killed = True

    def wait(self, timeout_s: float) -> bool:
        return True

    # ── what a test calls ────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def ordered(self) -> list[protocol.Generate]:
        """The images that it was ordered to generate, oldest first."""
        return [order for order in self.orders if isinstance(order, protocol.Generate)]

    @property
    def ids(self) -> list[str]:
        """The ids of those images."""
        return [order.item.image_id for order in self.ordered]

    @property
    def unanswered(self) -> list[str]:
        """The images that it was ordered to generate and has not answered for, oldest first."""
        return [
            image_id for image_id in dict.fromkeys(self.ids) if self._orders_of[image_id] > self._answers_of[image_id]
        ]

    @property
    def loads(self) -> list[str]:
        """The models that it was ordered to load."""
        return [order.card.name for order in self.orders if isinstance(order, protocol.Load)]

    @property
    def dropping(self) -> list[str]:
        """The images that it was told to drop and has not answered for."""
        found: dict[str, None] = {}
        for order in self.orders:
            match order:
                case protocol.Cancel(image_id=image_id) if image_id in self.unanswered:
                    found[image_id] = None
                case protocol.Generate():
                    found.pop(order.item.image_id, None)
        return list(found)

    @property
    def cancelled(self) -> list[str]:
        """The images that it was told to drop."""
        return [order.image_id for order in self.orders if isinstance(order, protocol.Cancel)]

    def report(self, report: protocol.Report) -> None:
        assert self._on_report is not None, "nobody follows this process"
        match report:
            case protocol.Generated(image_id=image_id) | protocol.Failed(image_id=image_id):
                self._answers_of[image_id] += 1
            case protocol.Cancelled(image_id=image_id):
                self._answers_of[image_id] += 1
            case (
                protocol.BatchFailed(image_ids=image_ids)
                | protocol.LoadFailed(image_ids=image_ids)
                | protocol.Refused(image_ids=image_ids)
            ):
                self._answers_of.update(image_ids)
            case _:
                pass
        self._on_report(report)

    def forget(self, image_id: str) -> None:
        """Drop everything that is kept of an image, and the orders about no image."""
        self.orders = [order for order in self.ordered if order.item.image_id != image_id]
        del self._orders_of[image_id], self._answers_of[image_id]

    def start(self) -> None:
        """Report that the process is up."""
        self.report(protocol.DevicesFound(0))
        self.report(protocol.Started("cpu", "a fake", "same bits"))

    def exit(self, status: int = -9) -> None:
        """End the process with this status."""
        assert self._on_exit is not None, "nobody follows this process"
        self._on_exit(status)

    def generate(self, image_id: str) -> None:
        """Generate an image that was ordered: let it leave its slot, write a picture of one colour, and report it."""
        order = next(order for order in reversed(self.ordered) if order.item.image_id == image_id)
        self.report(protocol.LeftSlot(image_id))
        write_png(Path(order.item.path), _plain(order), recipe_of(order))
        timings = {"denoising_s": 1.0, "decoding_s": 0.5, "finishing_s": 0.1}
        self.report(protocol.Generated(image_id, recipe_of(order), None, None, timings))


def _plain(order: protocol.Generate) -> Pixels:
    """Return an image of the size that was ordered, in one colour, which follows from the seed."""
    seed = order.item.seed
    colour = np.array([seed * 83 % 256, seed * 151 % 256, seed * 199 % 256], dtype=np.uint8)
    return np.broadcast_to(colour, (order.height, order.width, 3)).copy()


def recipe_of(order: protocol.Generate) -> Recipe:
    """Return the recipe that a real process would have written."""
    return Recipe(
        model=order.card.name,
        revision="revision",
        pipeline="FakePipeline",
        prompt=order.item.prompt,
        negative_prompt=order.item.negative_prompt,
        seed=order.item.seed,
        width=order.width,
        height=order.height,
        steps=order.steps,
        guidance=order.guidance,
        scheduler="FakeScheduler",
        dtype="float32",
        settings="00000000",
        batch_size=order.batch_size,
        device="cpu",
        device_name="a fake",
        versions={},
        upscale=order.second,
    )


class FakeGpu:
    """A factory of fake processes, which the scheduler has in place of a real GPU."""

    def __init__(self) -> None:
        self.processes: list[FakeProcess] = []
        #: Whether the operating system refuses to start a process.
        self.refuses = False
        #: Whether it starts processes, but refuses the threads that would follow them.
        self.refuses_threads = False

    def __call__(self) -> FakeProcess:
        if self.refuses:
            raise OSError("Resource temporarily unavailable")
        self.processes.append(FakeProcess(len(self.processes), refuses=self.refuses_threads))
        return self.processes[-1]

    @property
    def process(self) -> FakeProcess:
        """The process that was started last."""
        return self.processes[-1]
