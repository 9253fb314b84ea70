"""The choice of when to show a preview: often enough to be watched, and so rarely that no step is noticeably slower."""

import time
from collections.abc import Callable
from typing import Literal

#: A number says how many steps there are from one preview to the next.
PreviewSetting = Literal["auto", "off"] | int

#: The fewest seconds between two previews of one image.
LEAST_S = 0.5
#: The share of the time that previews may take, 0–1.
SHARE = 0.01


class PreviewTimes:
    """The times of the previews of one slot group's images."""

    def __init__(self, setting: PreviewSetting, clock: Callable[[], float] = time.monotonic) -> None:
        self._setting = setting
        self._clock = clock
        #: When each image was last shown, or else began.
        self._shown: dict[str, float] = {}

    def due(self, image_id: str, step: int, steps: int, images: int, seconds: float) -> bool:
        """Return whether to show an image after `step`, from 1, of `steps`. After the last one there is the image itself.

        `images` images are in slots, and a preview takes `seconds` seconds.
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
        """Note that an image has left its slot."""
        self._shown.pop(image_id, None)
