"""The box's end of a GPU process: it runs inside a Ray actor, and starts the same process as the server would."""

import asyncio
import os
import tempfile
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from pipelines import protocol
from pipelines.model_card import Weights
from pipelines.protocol import Order, Report, decode_order, encode
from pipelines.weight_digests import digests, first_difference
from server.cluster.agreement import About, installed
from server.scheduler.process import GpuProcess


class Message(msgspec.Struct, frozen=True):
    """A message from a box to the server: a report, or at last the exit status of the GPU process."""

    report: bytes | None = None
    #: The file that a report tells of: the PNG of an image that was generated, or the WebP of a preview.
    file: bytes | None = None
    exit_status: int | None = None


class RemoteGpu:
    """Runs one GPU process, and carries its messages and its images. It ends with the actor that it runs in."""

    def __init__(self, memory_gib: float) -> None:
        """Take the GiB that the process may use. Ray sets its GPU by CUDA_VISIBLE_DEVICES, its threads by OMP_NUM_THREADS."""
        self._folder = tempfile.TemporaryDirectory(prefix="backlot-")
        self._memory_gib = memory_gib
        self._process: GpuProcess | None = None

    def about(self) -> About:
        """Return what the server compares before it lets the box work."""
        return About(os.getpid(), installed())

    async def difference(self, weights: Weights, loras: Sequence[str], servers: Mapping[str, str]) -> str | None:
        """Return the first of these files that differs from the server's, or one that cannot be read and why."""
        try:
            return first_difference(servers, await asyncio.to_thread(digests, weights, loras))
        except OSError as error:
            return f"{error.filename} ({error.strerror})"

    async def follow(self) -> AsyncGenerator[Message]:
        """Start the GPU process, and yield its reports with their images until it ends; end it if nobody reads on."""
        messages: asyncio.Queue[Report | int] = asyncio.Queue()
        log_file = Path(self._folder.name) / "gpu-process.log"
        self._process = GpuProcess("auto", self._memory_gib, log_file)
        self._process.follow(messages.put_nowait, messages.put_nowait)
        try:
            while not isinstance(report := await messages.get(), int):
                yield Message(report=encode(report), file=await asyncio.to_thread(self._file_of, report))
        finally:
            self._process.kill()
        yield Message(exit_status=report)

    async def send(self, orders: Sequence[bytes]) -> None:
        """Send orders to the GPU process, whose images are written to this box's disk for a moment."""
        if self._process is not None:
            for data in orders:
                self._process.send(self._local(decode_order(data)))

    def _local(self, order: Order) -> Order:
        if not isinstance(order, protocol.Generate):
            return order
        item = order.item
        preview = None if item.preview_path is None else str(self._preview(item.image_id))
        item = msgspec.structs.replace(item, path=str(self._image(item.image_id)), preview_path=preview)
        return msgspec.structs.replace(order, item=item)

    def _file_of(self, report: Report) -> bytes | None:
        """Return the content of the file that a report tells of, and remove the file; None if there is none."""
        match report:
            case protocol.Generated(image_id=image_id):
                return _taken(self._image(image_id))
            case protocol.Previewed(image_id=image_id):
                # It may have been taken with the report of the preview before it.
                with suppress(FileNotFoundError):
                    return _taken(self._preview(image_id))
        return None

    def _image(self, image_id: str) -> Path:
        return Path(self._folder.name) / f"{image_id}.png"

    def _preview(self, image_id: str) -> Path:
        return Path(self._folder.name) / f"{image_id}.webp"


def _taken(path: Path) -> bytes:
    """Return what is in a file, and remove it. Raises OSError."""
    data = path.read_bytes()
    path.unlink()
    return data
