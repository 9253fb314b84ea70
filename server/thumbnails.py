"""Thumbnails: each is made when it is first asked for, and kept beside the images until its image is removed.

They are made here and not in the GPU process, so that images of earlier versions have them too, no job waits for one, and
the folder may be emptied at any time.
"""

import asyncio
import io
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image
from ulid import ULID

log = logging.getLogger(__name__)

#: Pixels of the longest side at most. The large ones are for screens with more dots to the inch.
LONGEST_SIDE = 384
LONGEST_SIDE_LARGE = 768
#: WebP's quality, 0–100; at 80 a small thumbnail has some kilobytes.
QUALITY = 80


class Thumbnails:
    """Makes and keeps thumbnails, one at a time, in a thread of its own: a page asks for many at once."""

    def __init__(self, images: Path, folder: Path) -> None:
        self._images = images
        self._folder = folder
        self._thread = ThreadPoolExecutor(1, "thumbnails")

    async def read(self, path: str, *, large: bool) -> bytes:
        """Return the WebP of an image, whose path is relative to the images folder.

        Raises FileNotFoundError if the image is gone, and OSError if it cannot be read.
        """
        kept = self._file(path, large)
        if kept.is_file():
            return await asyncio.to_thread(kept.read_bytes)
        side = LONGEST_SIDE_LARGE if large else LONGEST_SIDE
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, self._make, self._images / path, side, kept
        )

    def forget(self, path: str) -> None:
        """Remove the thumbnails of an image that was removed."""
        for large in (False, True):
            self._file(path, large).unlink(missing_ok=True)

    def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)

    def _file(self, path: str, large: bool) -> Path:
        return (self._folder / path).with_suffix(".large.webp" if large else ".webp")

    def _make(self, image: Path, side: int, target: Path) -> bytes:
        if target.is_file():
            return target.read_bytes()
        webp = thumbnail(image, side)
        try:
            _keep(webp, target)
        except OSError as error:
            # The page has its thumbnail all the same.
            log.warning("The thumbnail %s could not be kept: %s", target, error)
        if not image.is_file():
            # The image was removed meanwhile, perhaps before the thumbnail was there to be removed with it.
            target.unlink(missing_ok=True)
        return webp


def thumbnail(image: Path, side: int) -> bytes:
    """Return an image as WebP, whose longest side is `side` at most. Raises OSError if it cannot be read."""
    with Image.open(image) as picture:
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
        target = io.BytesIO()
        picture.convert("RGB").save(target, "WEBP", quality=QUALITY)
    return target.getvalue()


def _keep(webp: bytes, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.stem}-{ULID()}.partial")
    try:
        partial.write_bytes(webp)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
