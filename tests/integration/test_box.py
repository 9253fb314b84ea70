"""The other box's end of a GPU process, without Ray: what it receives, and what it gives back."""

import asyncio
from contextlib import aclosing
from pathlib import Path

from pipelines import protocol
from pipelines.model_card import ModelCard
from pipelines.protocol import Generate, Item, decode_report, encode
from server.cluster.box import RemoteGpu


def test_images_and_previews_come_with_their_reports_and_nothing_stays_on_the_box(
    tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    card = ModelCard.from_flat(
        name="good", folder=str(tiny_folders["good"]), licence="-", tiers=("0.5K",), steps=6, guidance=2.0, preview=1
    )
    servers = tmp_path / "head"
    item = Item("one", 1, "marble", "", str(servers / "one.png"), preview_path=str(servers / "one.webp"))

    async def scene() -> list[tuple[protocol.Report, bytes | None]]:
        gpu = RemoteGpu(0)
        found = []
        async with aclosing(gpu.follow()) as messages:
            async for message in messages:
                assert message.report is not None, "the GPU process ended"
                report = decode_report(message.report)
                found.append((report, message.file))
                if isinstance(report, protocol.Started):
                    await gpu.send([encode(Generate(card, 64, 64, 6, 2.0, 1, item))])
                if isinstance(report, protocol.Generated | protocol.Failed):
                    break
        return found

    found = asyncio.run(scene())
    # The report of a preview comes without a file if the preview after it was written before its own was read.
    previews = [file for report, file in found if isinstance(report, protocol.Previewed) and file is not None]
    images = [file for report, file in found if isinstance(report, protocol.Generated)]
    assert previews and all(preview[8:12] == b"WEBP" for preview in previews)
    assert len(images) == 1 and images[0] is not None and images[0].startswith(b"\x89PNG")
    assert not servers.exists()
