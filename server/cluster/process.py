"""The server's end of a GPU process on another box: the same orders and reports, carried by Ray."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError

from pipelines import protocol
from pipelines.failure_reason import FailureReason, Fault
from pipelines.model_card import ModelCard, Weights
from pipelines.output.whole_file import whole_file
from pipelines.protocol import Item, Order, Report, decode_report, encode
from pipelines.weight_digests import digests
from pipelines.weight_files import stamp_of
from server.cluster.agreement import About, installed, why_not
from server.cluster.box import Message, RemoteGpu
from server.scheduler.process import posted_to_loop

log = logging.getLogger(__name__)

#: Seconds that Ray may take to place the actor and to import this program there.
PLACED_S = 120.0
#: The exit status of a GPU process whose actor ended first, so that its own is unknown.
UNKNOWN = 1


class RayProcess:
    """One GPU process in one actor, from its start to its end."""

    pid = 0

    def __init__(
        self, box: str, placement: Mapping[str, Any], memory_gib: float, *, placed_s: float = PLACED_S
    ) -> None:
        """Take the options by which Ray places the actor on this box. It is placed once this is followed."""
        self._placed_s = placed_s
        self._box = box
        self._placement = placement
        self._memory_gib = memory_gib
        #: None until it is placed.
        self._actor: Any = None
        #: The orders that were not sent yet, and None after the last.
        self._orders: SimpleQueue[Order | None] = SimpleQueue()
        #: The items that were ordered and whose images have not ended, with their paths on this box.
        self._items: dict[str, Item] = {}
        #: The cards whose weights are the same on both boxes, and the LoRAs' files with their stamps here.
        self._checked: list[ModelCard] = []
        self._checked_loras: dict[str, str] = {}
        #: Whether this server ended the actor.
        self._was_killed = False
        self._ended = threading.Event()

    def follow(self, on_report: Callable[[Report], None], on_exit: Callable[[int], None]) -> None:
        """See Process. A thread named `reports` receives reports and images, and one named `orders` sends orders.

        Raises OSError if the operating system refuses a thread.
        """
        post = posted_to_loop(on_report, on_exit)
        try:
            threading.Thread(target=self._receive, args=(post,), name="reports", daemon=True).start()
        except RuntimeError as error:
            raise OSError(f"the GPU process on {self._box} cannot be followed: {error}") from error

    def send(self, order: Order) -> None:
        """See Process."""
        self._orders.put(order)

    def kill(self) -> None:
        """See Process. A thread tells Ray, which answers no call while the head is gone."""
        self._was_killed = True
        threading.Thread(target=self._end_actor, name="kill", daemon=True).start()

    def _end_actor(self) -> None:
        """Have Ray end the actor, if it was placed."""
        if self._actor is None or not ray.is_initialized():
            return
        try:
            ray.kill(self._actor, no_restart=True)
        except RayError as error:
            # Ray ends an actor whose driver it cannot reach.
            log.warning("The actor on %s could not be ended: %s", self._box, error)

    def wait(self, timeout_s: float) -> bool:
        """See Process."""
        return self._ended.wait(timeout_s)

    # ── the thread that receives ─────────────────────────────────────────────────────────────────────────────────────

    def _receive(self, post: Callable[[Report | int], None]) -> None:
        status = UNKNOWN
        try:
            if self._place(post) and self._agrees(post):
                threading.Thread(target=self._send_all, args=(post,), name="orders", daemon=True).start()
                status = self._pass_on(post)
        except Exception as error:
            if not _says_actor_is_gone(error):
                log.exception("What %s sent cannot be used; its actor is ended", self._box)
                post(protocol.CannotStart(f"{type(error).__name__}: {error}"))
            elif not self._was_killed:
                # An actor reports the end of its GPU process. If the actor itself ends, Ray or the box ended it.
                log.warning("The actor on %s is gone: %s", self._box, error)
                post(protocol.DeviceLost(f"Ray lost its actor on {self._box}"))
        self._end_actor()
        self._orders.put(None)
        self._ended.set()
        post(status)

    def _place(self, post: Callable[[Report | int], None]) -> bool:
        """Have Ray place the actor; return whether it does, and post why not.

        This is no work for the event loop: Ray answers no call while the head is gone.
        """
        if not ray.is_initialized():
            post(protocol.CannotStart("the server is in no Ray cluster"))
            return False
        try:
            self._actor = ray.remote(RemoteGpu).options(**self._placement).remote(self._memory_gib)
        except RayError as error:
            post(protocol.CannotStart(f"Ray places no actor on {self._box}: {error}"))
            return False
        return not self._was_killed

    def _agrees(self, post: Callable[[Report | int], None]) -> bool:
        """Wait until the actor is placed; return whether its box may work for this server, and post why not."""
        try:
            about: About = ray.get(self._actor.about.remote(), timeout=self._placed_s)
        except GetTimeoutError:
            why = f"something else in the cluster may have the GPU or the cores of {self._box}"
            post(protocol.CannotStart(f"Ray has placed no actor after {self._placed_s:g} s: {why}"))
            return False
        self.pid = about.pid
        problem = why_not(self._box, about.versions, installed())
        if problem is not None:
            post(protocol.CannotStart(problem))
        return problem is None

    def _pass_on(self, post: Callable[[Report | int], None]) -> int:
        """Post every report after writing its file; return the exit status of the GPU process."""
        status = UNKNOWN
        for reference in self._actor.follow.options(num_returns="streaming").remote():
            message: Message = ray.get(reference)
            if message.report is None:
                status = UNKNOWN if message.exit_status is None else message.exit_status
                continue
            post(written(decode_report(message.report), message.file, self._items))
        return status

    # ── the thread that sends ────────────────────────────────────────────────────────────────────────────────────────

    def _send_all(self, post: Callable[[Report | int], None]) -> None:
        try:
            while (order := self._orders.get()) is not None:
                batch = [order, *self._waiting()]
                allowed = [encode(each) for each in batch if each is not None and self._may_go(each, post)]
                # Waiting for the answer keeps the orders in sequence.
                ray.get(self._actor.send.remote(allowed))
                if None in batch:
                    return
        except Exception as error:
            if _says_actor_is_gone(error):
                # The thread that receives says what became of it.
                return
            log.exception("Orders for %s cannot be sent; its actor is ended", self._box)
            post(protocol.CannotStart(f"{type(error).__name__}: {error}"))
            self.kill()

    def _waiting(self) -> list[Order | None]:
        return [self._orders.get() for _ in range(self._orders.qsize())]

    def _may_go(self, order: Order, post: Callable[[Report | int], None]) -> bool:
        """Return whether the box has an order's weights and LoRAs as this box has them; if not, post a refusal."""
        if not isinstance(order, protocol.Load | protocol.Generate):
            return True
        item = order.item if isinstance(order, protocol.Generate) else None
        loras = [lora.file for lora in order.loras] if isinstance(order, protocol.Generate) else []
        problem = self._problem_with(order.card, loras)
        if problem is not None:
            post(protocol.Refused(order.card.name, problem, () if item is None else (item.image_id,)))
            return False
        if item is not None:
            self._items[item.image_id] = item
        return True

    def _problem_with(self, card: ModelCard, loras: Sequence[str]) -> str | None:
        try:
            stamps = {file: stamp_of(Path(file)) for file in loras}
            unchecked = [file for file, stamp in stamps.items() if self._checked_loras.get(file) != stamp]
            is_known = card in self._checked
            if is_known and not unchecked:
                return None
            weights = Weights() if is_known else card.weights
            servers = digests(weights, unchecked)
        except OSError as error:
            return f"this server cannot read {error.filename} of {card.name} ({error.strerror})"
        different: str | None = ray.get(self._actor.difference.remote(weights, unchecked, servers))
        if different is not None:
            return f"on {self._box}, {different} of {card.name} is not what this server has: copy it from here"
        if not is_known:
            self._checked.append(card)
        self._checked_loras.update(stamps)
        return None


def _says_actor_is_gone(error: Exception) -> bool:
    """Return whether Ray has lost the actor; an exception that the actor raised itself also comes as an error of Ray."""
    return isinstance(error, RayError) and not isinstance(error, RayTaskError)


def written(report: Report, data: bytes | None, items: dict[str, Item]) -> Report:
    """Write the file that comes with a report, if one does; return the report, or one that the image failed.

    Its item says where to. `items` are those whose images have not ended, and lose those whose images end.
    """
    match report:
        case protocol.Previewed(image_id=image_id) if data is not None and image_id in items:
            try:
                _write(Path(items[image_id].preview_path or ""), data)
            except OSError as error:
                # The image itself is not affected.
                log.warning("A preview of image %s could not be written: %s", image_id, error)
        case protocol.Generated(image_id=image_id) if data is not None:
            try:
                _write(Path(items.pop(image_id).path), data)
            except OSError as error:
                log.exception("Image %s could not be written", image_id)
                message = f"The image could not be finished: {type(error).__name__}: {error}"
                return protocol.Failed(image_id, FailureReason.IMAGE_NOT_WRITTEN, message, Fault.MACHINE)
        case protocol.Failed(image_id=image_id) | protocol.Cancelled(image_id=image_id):
            # Its last preview may still be on its way.
            items.pop(image_id, None)
    return report


def _write(path: Path, data: bytes) -> None:
    with whole_file(path) as file:
        file.write(data)
