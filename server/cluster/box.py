"""The box's end of a GPU process: it runs inside a Ray actor, and starts the same process as the server would."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import msgspec

from pipelines import protocol
from pipelines.model_card import Weights
from pipelines.protocol import Order, Report, decode_order, encode
from pipelines.weight_digests import digests, first_difference
from server.cluster.agreement import About, installed
from server.scheduler.process import GpuProcess


class Message(msgspec.Struct, frozen=True):
    """What travels from a box to the server: a report, or at last the exit status of the GPU process."""

    report: bytes | None = None
    #: The PNG of an image that was generated.
    image: bytes | None = None
    exit_status: int | None = None


class RemoteGpu:
    """Runs one GPU process, and carries its messages and its images. It ends with the actor that it runs in."""

    def __init__(self, memory_gib: float) -> None:
        """Ray has set what the process sees: its GPU in CUDA_VISIBLE_DEVICES, its threads in OMP_NUM_THREADS."""
        self._folder = tempfile.TemporaryDirectory(prefix="backlot-")
        self._memory_gib = memory_gib
        self._process: GpuProcess | None = None

    def about(self) -> About:
        """Return what the server compares before it lets the box work."""
        return About(os.getpid(), installed())

    async def difference(self, weights: Weights, servers: Mapping[str, str]) -> str | None:
        """Return the first file of these weights that is not as the server has it, or what keeps it from being read."""
        try:
            return first_difference(servers, await asyncio.to_thread(digests, weights))
        except OSError as error:
            return f"{weights.folder} ({error.strerror})"

    async def follow(self) -> AsyncIterator[Message]:
        """Start the GPU process, and yield its reports with their images until it ends."""
        messages: asyncio.Queue[Report | int] = asyncio.Queue()
        log_file = Path(self._folder.name) / "gpu-process.log"
        self._process = GpuProcess("auto", self._memory_gib, log_file)
        self._process.follow(messages.put_nowait, messages.put_nowait)
        while not isinstance(report := await messages.get(), int):
            image = None
            if isinstance(report, protocol.Generated):
                image = await asyncio.to_thread(self._take, report.image_id)
            yield Message(report=encode(report), image=image)
        yield Message(exit_status=report)

    async def send(self, orders: Sequence[bytes]) -> None:
        """Send orders to the GPU process, whose images are written to this box's disk for a moment."""
        if self._process is not None:
            for data in orders:
                self._process.send(self._local(decode_order(data)))

    def _local(self, order: Order) -> Order:
        if not isinstance(order, protocol.Generate):
            return order
        path = str(self._file(order.item.image_id))
        return msgspec.structs.replace(order, item=msgspec.structs.replace(order.item, path=path))

    def _file(self, image_id: str) -> Path:
        return Path(self._folder.name) / f"{image_id}.png"

    def _take(self, image_id: str) -> bytes:
        """Return an image's bytes, and remove its file."""
        file = self._file(image_id)
        image = file.read_bytes()
        file.unlink()
        return image
