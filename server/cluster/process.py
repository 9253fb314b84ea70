"""The server's end of a GPU process on another box: the same orders and reports, carried by Ray."""

import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import ray
from ray.exceptions import RayError

from pipelines import protocol
from pipelines.failure_reason import FailureReason, Fault
from pipelines.model_card import ModelCard
from pipelines.output.whole_file import whole_file
from pipelines.protocol import Order, Report, decode_report, encode
from pipelines.weight_digests import digests
from server.cluster.agreement import About, installed, why_not
from server.cluster.box import Message, RemoteGpu
from server.scheduler.process import posted_to_loop

log = logging.getLogger(__name__)

#: Seconds that Ray may take to place the actor and to import this program there.
PLACED_S = 120.0
#: The exit status that stands for that of a process whose actor ended first.
UNKNOWN = 1


class RayProcess:
    """One GPU process in one actor, from its start to its end."""

    pid = 0

    def __init__(self, box: str, placement: Mapping[str, Any], memory_gib: float) -> None:
        """Have Ray place an actor, with these options. Raises OSError if this process is in no cluster now."""
        if not ray.is_initialized():
            raise OSError("the server is in no Ray cluster")
        self._box = box
        self._actor = ray.remote(RemoteGpu).options(**placement).remote(memory_gib)
        #: The orders that were not sent yet, and None after the last.
        self._orders: SimpleQueue[Order | None] = SimpleQueue()
        #: The path on this box of each image that was ordered.
        self._paths: dict[str, Path] = {}
        #: The cards whose weights are the same on both boxes.
        self._checked: list[ModelCard] = []
        #: This server ended it.
        self._was_killed = False
        self._ended = threading.Event()

    def follow(self, on_report: Callable[[Report], None], on_exit: Callable[[int], None]) -> None:
        """See Process. Reports and images are received by a thread named `reports`, and orders sent by one named `orders`.

        Raises OSError if the operating system refuses a thread.
        """
        post = posted_to_loop(on_report, on_exit)
        try:
            threading.Thread(target=self._receive, args=(post,), name="reports", daemon=True).start()
        except RuntimeError as error:
            self.kill()
            raise OSError(f"the GPU process on {self._box} cannot be followed: {error}") from error

    def send(self, order: Order) -> None:
        """See Process."""
        self._orders.put(order)

    def kill(self) -> None:
        self._was_killed = True
        if ray.is_initialized():
            ray.kill(self._actor, no_restart=True)

    def wait(self, timeout_s: float) -> bool:
        """See Process."""
        return self._ended.wait(timeout_s)

    # ── the thread that receives ─────────────────────────────────────────────────────────────────────────────────────

    def _receive(self, post: Callable[[Report | int], None]) -> None:
        status = UNKNOWN
        try:
            if self._agrees(post):
                threading.Thread(target=self._send_all, args=(post,), name="orders", daemon=True).start()
                status = self._pass_on(post)
        except RayError as error:
            # A GPU process that ends by itself is reported by its actor. If the actor ends, Ray or the box ended it.
            if not self._was_killed:
                log.warning("The actor on %s is gone: %s", self._box, error)
                post(protocol.DeviceLost(f"Ray lost its actor on {self._box}"))
        except Exception as error:
            log.exception("What %s sent cannot be used; its actor is ended", self._box)
            post(protocol.CannotStart(f"{type(error).__name__}: {error}"))
        self.kill()
        self._orders.put(None)
        self._ended.set()
        post(status)

    def _agrees(self, post: Callable[[Report | int], None]) -> bool:
        """Wait until the actor is placed; return whether its box may work for this server, and post why not."""
        about: About = ray.get(self._actor.about.remote(), timeout=PLACED_S)
        self.pid = about.pid
        problem = why_not(self._box, about.versions, installed())
        if problem is not None:
            post(protocol.CannotStart(problem))
        return problem is None

    def _pass_on(self, post: Callable[[Report | int], None]) -> int:
        """Post every report, having written its image; return the exit status of the GPU process."""
        status = UNKNOWN
        for reference in self._actor.follow.options(num_returns="streaming").remote():
            message: Message = ray.get(reference)
            if message.report is None:
                status = UNKNOWN if message.exit_status is None else message.exit_status
                continue
            post(self._written(decode_report(message.report), message.image))
        return status

    def _written(self, report: Report, image: bytes | None) -> Report:
        """Write the image that comes with a report, if one does; return the report, or that the image failed."""
        if image is None or not isinstance(report, protocol.Generated):
            return report
        try:
            with whole_file(self._paths.pop(report.image_id)) as file:
                file.write(image)
        except OSError as error:
            log.exception("Image %s of %s could not be written", report.image_id, self._box)
            message = f"The image could not be finished: {type(error).__name__}: {error}"
            return protocol.Failed(report.image_id, FailureReason.IMAGE_NOT_WRITTEN, message, Fault.MACHINE)
        return report

    # ── the thread that sends ────────────────────────────────────────────────────────────────────────────────────────

    def _send_all(self, post: Callable[[Report | int], None]) -> None:
        try:
            while (order := self._orders.get()) is not None:
                batch = [order, *self._waiting()]
                allowed = [encode(each) for each in batch if each is not None and self._may_go(each, post)]
                # Waiting for the answer keeps the orders in their order.
                ray.get(self._actor.send.remote(allowed))
                if None in batch:
                    return
        except RayError:
            # The other thread says what became of the actor.
            return
        except Exception as error:
            log.exception("Orders for %s cannot be sent; its actor is ended", self._box)
            post(protocol.CannotStart(f"{type(error).__name__}: {error}"))
            self.kill()

    def _waiting(self) -> list[Order | None]:
        return [self._orders.get() for _ in range(self._orders.qsize())]

    def _may_go(self, order: Order, post: Callable[[Report | int], None]) -> bool:
        """Return whether the box has the weights of an order's card as this box has them; if not, post that it refuses it."""
        if not isinstance(order, protocol.Load | protocol.Generate):
            return True
        image_ids = (order.item.image_id,) if isinstance(order, protocol.Generate) else ()
        problem = self._problem_with(order.card)
        if problem is not None:
            post(protocol.Refused(order.card.name, problem, image_ids))
            return False
        if isinstance(order, protocol.Generate):
            self._paths[order.item.image_id] = Path(order.item.path)
        return True

    def _problem_with(self, card: ModelCard) -> str | None:
        if card in self._checked:
            return None
        different: str | None = ray.get(self._actor.difference.remote(card.weights, digests(card.weights)))
        if different is None:
            self._checked.append(card)
            return None
        return f"on {self._box}, {different} of {card.name} is not what this server has: copy the weights from here"
