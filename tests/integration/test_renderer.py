"""The pictures studio-tiny learns from: every scene and mood, and the law that a requested colour is really there."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline

from pipelines.output.defects import defect_of
from pipelines.output.measurement import evaluate
from pipelines.studio_tiny.render.bokeh import BOKEH
from pipelines.studio_tiny.render.develop import NoRoom, develop, room
from pipelines.studio_tiny.render.moods import MOODS
from pipelines.studio_tiny.render.scenes import SCENES
from pipelines.studio_tiny.training.pictures import PICTURES, photograph, random_color, read_shard, write_shard
from pipelines.studio_tiny.vocabulary import MOODS as MOOD_WORDS
from pipelines.studio_tiny.vocabulary import SCENES as SCENE_WORDS
from pipelines.studio_tiny.vocabulary import phrase, prompt, words


@pytest.mark.parametrize("scene", SCENE_WORDS)
def test_a_scene_is_a_pure_function_of_its_seed_with_room_for_a_colour(scene: str) -> None:
    layers, pigments = photograph(scene, 96, 64, 2, seed=3, samples=4)
    again, _ = photograph(scene, 96, 64, 2, seed=3, samples=4)
    other, _ = photograph(scene, 96, 64, 2, seed=4, samples=4)
    picture = develop(layers, pigments, "neutral", [(40, 90, 160)], seed=1)
    assert picture.shape == (64, 96, 3)
    assert defect_of(picture) is None
    assert np.array_equal(picture, develop(again, pigments, "neutral", [(40, 90, 160)], seed=1))
    assert not np.array_equal(layers.cover, other.cover)


def test_a_set_with_too_few_regions_says_so() -> None:
    layers, pigments = photograph("sweep", 64, 64, 1, seed=1, samples=4)
    with pytest.raises(NoRoom):
        develop(layers, pigments, "neutral", [(1, 2, 3), (4, 5, 6)], seed=1)


def test_requested_colours_are_there_in_every_mood() -> None:
    rng = np.random.default_rng(8)
    errors, shares = [], []
    for number, scene in enumerate(("sweep", "podium", "niche", "marble", "terrazzo", "curtain", "beach", "window")):
        layers, pigments = photograph(scene, 160, 160, 3, seed=number, samples=8)
        for mood in MOODS:
            count = min(3, room(layers, pigments), 1 + int(rng.integers(3)))
            colors = [random_color(rng) for _ in range(count)]
            measured = evaluate(develop(layers, pigments, mood, colors, seed=number), colors)
            errors += [entry.delta_e for entry in measured.palette]
            shares += [entry.share for entry in measured.palette]
    assert np.median(errors) <= 2
    assert np.quantile(errors, 0.9) <= 6
    assert np.median(shares) >= 0.08


def test_moods_differ_where_nobody_asked_for_a_colour() -> None:
    layers, pigments = photograph("podium", 96, 96, 2, seed=5, samples=4)
    pictures = {mood: develop(layers, pigments, mood, [], seed=2).astype(float) for mood in MOODS}
    assert pictures["bright"].mean() > pictures["neutral"].mean() > pictures["dark"].mean()
    warmth = {mood: float((pictures[mood][..., 0] - pictures[mood][..., 2]).mean()) for mood in MOODS}
    assert warmth["golden"] > warmth["neutral"] > warmth["cool"]


def test_a_prompt_has_known_words_at_fixed_places() -> None:
    text = prompt("marble", "bright", [(0, 128, 255)])
    assert text.startswith("marble bright r1-0 g1-32 b1-63 r2-none g2-none b2-none r3-none")
    assert set(text.split()) <= set(words())
    assert len(set(words())) == len(words())


def test_the_words_are_those_the_renderer_knows() -> None:
    assert list(SCENE_WORDS) == [*SCENES, BOKEH]
    assert list(MOOD_WORDS) == list(MOODS)


@pytest.mark.parametrize(
    ("scene", "mood", "understood"),
    [
        ("Polished Carrara", "high-key", ("marble", "bright")),
        ("infinity cove", "cyberpunk", ("sweep", "neon")),
        ("palm leaf shadows on a wall", "golden hour", ("foliage", "golden")),
        ("an old oak table", "nostalgic", ("wood", "vintage")),
        ("wall niche", "foggy", ("niche", "misty")),
        ("stairs", "luxurious", ("steps", "elegant")),
        ("marbel", "dramtic", ("marble", "dramatic")),
        ("xyzzy", "砂浜", (None, None)),
    ],
)
def test_free_text_maps_to_the_nearest_words(scene: str, mood: str, understood: tuple[str | None, str | None]) -> None:
    found = phrase(scene, mood, [])
    assert (found.scene, found.mood) == understood


def test_a_shard_is_written_once_and_read_back(tmp_path: Path) -> None:
    path = write_shard(tmp_path, 25, 0, shrink=4)
    first = path.read_bytes()
    shard = read_shard(write_shard(tmp_path, 25, 0, shrink=4))
    assert path.read_bytes() == first
    assert len(shard.prompts) == len(shard.files) == PICTURES
    assert {text.split()[0] for text in shard.prompts} == {"bokeh"}
    assert shard.pixels(0).ndim == 3


@pytest.mark.slow
def test_training_goes_on_where_it_stopped_and_writes_a_stock_pipeline(tmp_path: Path) -> None:
    work, out = tmp_path / "work", tmp_path / "weights"
    command = [
        sys.executable, "-m", "pipelines.studio_tiny.training", "--work", str(work), "--out", str(out), "--first-sets", "2",
        "--coarse-sets", "3", "--layout-sets", "1", "--fine-sets", "1", "--core-steps", "2", "--autoencoder-steps", "2",
        "--coarse-batch", "2", "--fine-batch", "2", "--fine-steps", "2", "--few-batch", "2", "--few-steps", "1",
    ]  # fmt: skip
    subprocess.run([*command, "--coarse-steps", "1"], check=True)
    assert torch.load(work / "denoiser-coarse.pt")["steps"] == 1
    subprocess.run([*command, "--coarse-steps", "3"], check=True)
    assert torch.load(work / "denoiser-coarse.pt")["steps"] == 3
    assert torch.load(work / "denoiser-few-8.pt")["steps"] == 1
    pipeline = DiffusionPipeline.from_pretrained(out, dtype=torch.float32)
    images = pipeline(
        prompt("marble", "dark", []), width=128, height=128, num_inference_steps=1, output_type="np"
    ).images
    assert images.shape == (1, 128, 128, 3)
    assert sum(file.stat().st_size for file in out.rglob("*") if file.is_file()) <= 40_000_000
