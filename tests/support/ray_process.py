"""Order images of one GPU process on another box, as the server does, and write what becomes of them.

python -m tests.support.ray_process CLUSTER FOLDER_OF_A_MODEL FOLDER_FOR_IMAGES
"""

import asyncio
import sys
from pathlib import Path

import ray

from pipelines import protocol
from pipelines.lora import Lora
from pipelines.model_card import ModelCard
from server.cluster.process import UNKNOWN, RayProcess


class Holder:
    """An actor that does nothing."""


def card(name: str, folder: Path) -> ModelCard:
    return ModelCard.from_flat(
        name=name, folder=str(folder), licence="-", tiers=("0.5K",), steps=6, guidance=2.0, preview=1
    )


async def no_place() -> None:
    """Write why Ray places no actor: there is one of its name already, or nobody has so many cores."""
    holder = ray.remote(Holder).options(name="taken", num_cpus=0).remote()
    for placement in ({"num_cpus": 0, "name": "taken"}, {"num_cpus": 99}):
        heard: asyncio.Queue[protocol.Report | int] = asyncio.Queue()
        RayProcess("one", placement, 0, placed_s=2).follow(heard.put_nowait, heard.put_nowait)
        report = await heard.get()
        assert isinstance(report, protocol.CannotStart), report
        sys.stdout.write(f"{report.message.splitlines()[0]}\n")
        assert await heard.get() == UNKNOWN
    ray.kill(holder)


async def main(cluster: str, model: Path, images: Path) -> None:
    ray.init(address=cluster, log_to_driver=False, configure_logging=False)
    await no_place()
    process = RayProcess("one", {"num_cpus": 1}, 0)
    heard: asyncio.Queue[protocol.Report | int] = asyncio.Queue()
    process.follow(heard.put_nowait, heard.put_nowait)
    good, missing = card("good", model), card("missing", images / "missing")
    item = protocol.Item("one", 1, "marble", "", str(images / "one.png"), preview_path=str(images / "one.webp"))
    order = protocol.Generate(good, 64, 64, 6, 2.0, 1, item)
    process.send(protocol.Load(missing))
    process.send(protocol.Generate(good, 64, 64, 6, 2.0, 1, item, loras=(Lora("lora", str(images / "lora"), 1.0),)))
    process.send(order)
    while not isinstance(report := await heard.get(), int | protocol.Generated):
        if isinstance(report, protocol.Refused):
            sys.stdout.write(f"{report.message}\n")
    if (images / "one.webp").read_bytes()[8:12] == b"WEBP":
        sys.stdout.write("a preview\n")
    if (images / "one.png").read_bytes().startswith(b"\x89PNG"):
        sys.stdout.write("an image\n")
    process.kill()


asyncio.run(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
