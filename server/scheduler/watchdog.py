"""Ends a GPU process that hangs."""

import asyncio
from collections.abc import Callable

import msgspec

from pipelines.failure_reason import FailureReason


class Verdict(msgspec.Struct, frozen=True):
    """The watchdog's finding of why a GPU process ended."""

    reason: FailureReason
    message: str
    #: The one image that is to blame; None if it may be any.
    image_id: str | None = None
    #: The model whose load took too long; None if none did.
    loading: str | None = None


class Watchdog:
    """Watches the process of one GPU: it must give a sign of life in time, and write images in time."""

    def __init__(self, kill: Callable[[], None]) -> None:
        """Take the function that ends the process. All methods run on the event loop."""
        self._kill = kill
        self._sign_of_life: asyncio.TimerHandle | None = None
        self._writes: dict[str, asyncio.TimerHandle] = {}
        #: Why the process was ended; None if it was not.
        self.verdict: Verdict | None = None

    def expect(self, seconds: float, reason: FailureReason, message: str, loading: str | None = None) -> None:
        """End the process unless `expect` or `rest` is called within `seconds`."""
        self.rest()
        self._sign_of_life = self._end_in(seconds, Verdict(reason, message, loading=loading))

    def rest(self) -> None:
        """Expect no sign of life: the process has nothing to do."""
        if self._sign_of_life is not None:
            self._sign_of_life.cancel()
            self._sign_of_life = None

    def expect_written(self, image_id: str, seconds: float) -> None:
        """End the process unless `written` is called for this image within `seconds`."""
        message = f"an image was not written after {seconds:g} s, so the GPU process was ended"
        self._writes[image_id] = self._end_in(seconds, Verdict(FailureReason.WRITE_TIMEOUT, message, image_id))

    def written(self, image_id: str) -> None:
        """Note that an image is on disk, or that it will not be written."""
        if (timer := self._writes.pop(image_id, None)) is not None:
            timer.cancel()

    def stop(self) -> None:
        """Watch no longer, and forget the verdict: the process has ended."""
        self.verdict = None
        self.rest()
        for image_id in list(self._writes):
            self.written(image_id)

    def _end_in(self, seconds: float, verdict: Verdict) -> asyncio.TimerHandle:
        def end() -> None:
            self.verdict = verdict
            self._kill()

        return asyncio.get_running_loop().call_later(seconds, end)
