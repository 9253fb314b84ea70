"""Recipes in files of earlier versions, and the fields that a recipe leaves out."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from pipelines.colors import PaletteMode
from pipelines.output.png import write_png
from pipelines.recipe import NoRecipe, Recipe, read_recipe

#: A recipe as the first version wrote it.
FIRST = Recipe(
    model="m",
    revision="r",
    pipeline="P",
    prompt="marble",
    negative_prompt="",
    seed=1,
    width=16,
    height=8,
    steps=4,
    guidance=1.0,
    scheduler="S",
    dtype="float32",
    settings="01234567",
    batch_size=1,
    device="cpu",
    device_name="2 threads",
    versions={},
)
PIXELS = np.zeros((8, 16, 3), np.uint8)


def test_a_file_of_the_first_version_stays_the_same_when_it_is_written_again(tmp_path: Path) -> None:
    written = msgspec.to_builtins(FIRST)
    assert not {"palette", "colors"} & written.keys()
    write_png(tmp_path / "first.png", PIXELS, FIRST)
    assert read_recipe(tmp_path / "first.png") == FIRST
    assert FIRST.palette is PaletteMode.PROMPT


@pytest.mark.parametrize("palette", [PaletteMode.STEER, PaletteMode.MATCH])
def test_the_colors_of_a_steered_or_matched_image_are_kept(tmp_path: Path, palette: PaletteMode) -> None:
    moved = msgspec.structs.replace(FIRST, palette=palette, colors=("#1f2a44", "#ffffff"))
    write_png(tmp_path / "moved.png", PIXELS, moved)
    assert read_recipe(tmp_path / "moved.png") == moved


def test_a_color_that_is_none_is_told(tmp_path: Path) -> None:
    write_png(tmp_path / "odd.png", PIXELS, msgspec.structs.replace(FIRST, colors=("navy",)))
    with pytest.raises(NoRecipe, match="not of this version"):
        read_recipe(tmp_path / "odd.png")
