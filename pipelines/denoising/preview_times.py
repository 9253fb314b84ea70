"""When to show a preview: often enough to be looked at, and so rarely that no step is noticeably slower."""

import time
from collections.abc import Callable
from typing import Literal

#: A number is every how many steps.
PreviewSetting = Literal["auto", "off"] | int

#: Seconds between two previews of one image at least.
LEAST_S = 0.5
#: The share of the time that previews may take.
SHARE = 0.01


class PreviewTimes:
    """Decides for the images of one slot group."""

    def __init__(self, setting: PreviewSetting, clock: Callable[[], float] = time.monotonic) -> None:
        self._setting = setting
        self._clock = clock
        #: When each image was last shown, or began.
        self._shown: dict[str, float] = {}

    def due(self, image_id: str, step: int, steps: int, images: int, seconds: float) -> bool:
        """Return whether to show an image after `step` of `steps`: 1 is the first one. The last one is the picture itself.

        `images` of them are on their way, and a preview takes so many seconds.
        """
        if self._setting == "off" or step >= steps:
            return False
        if self._setting != "auto":
            return step % self._setting == 0
        now = self._clock()
        return now - self._shown.setdefault(image_id, now) >= max(LEAST_S, images * seconds / SHARE)

    def show(self, image_id: str) -> None:
        """Note that an image is shown now."""
        self._shown[image_id] = self._clock()

    def forget(self, image_id: str) -> None:
        """Note that an image is no longer on its way."""
        self._shown.pop(image_id, None)
