"""PNG files are written whole or not at all."""

from pathlib import Path

import numpy as np
import pytest

from pipelines.model_card import ModelCard
from pipelines.output.png import write_png
from pipelines.protocol import Generate, Item
from tests.support.fake_process import recipe_of
from tests.support.small_disk import free, small_disk

CARD = ModelCard.from_flat(name="a", licence="made for tests", tiers=("0.5K",), steps=1, guidance=1.0)


def test_a_full_disk_keeps_nothing_of_an_image(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (512, 512, 3), dtype=np.uint8)
    recipe = recipe_of(Generate(CARD, 512, 512, 1, 1.0, 1, Item("i", 1, "p", "", "x.png")))
    with small_disk(tmp_path / "disk", 1) as disk:
        (disk / "filler").write_bytes(b"x" * 600_000)
        before = free(disk)
        with pytest.raises(OSError, match="No space left"):
            write_png(disk / "image.png", pixels, recipe)
        assert sorted(path.name for path in disk.iterdir()) == ["filler"]
        assert free(disk) == before
