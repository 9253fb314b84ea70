"""`backlot models add` and `backlot models check --run`: from files to a card that generates."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from server.models_file import load_models
from server.operator.adding import add_model
from server.operator.errors import CommandError
from tests.support.files import models_file
from tests.support.ldm import save_as_one_file
from tests.support.server import ROOT
from tests.support.tiny import unet_pipeline


@pytest.fixture
def toml(tiny_folders: dict[str, Path], tmp_path: Path) -> Path:
    """A models file with one model, and comments."""
    path = models_file(tmp_path / "models.toml", {"good": tiny_folders["good"]})
    path.write_text(f"# ours\n{path.read_text()}# the end\n")
    return path


def test_a_folder_becomes_a_card_that_keeps_the_rest_of_the_file(
    toml: Path, tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    before = toml.read_text()
    folder = shutil.copytree(tiny_folders["good"], tmp_path / "My Model (v2)")
    (folder / "README.md").write_text("---\nlicense: openrail++\n---\n")
    added = add_model(toml, str(folder), None, None)
    assert added.name == "my-model-v2"
    assert toml.read_text().startswith(before.rstrip())
    card = load_models(toml).models["my-model-v2"]
    assert (card.licence, card.weights.dtype, card.limits.multiple_of) == ("openrail++", "float32", 32)
    # What diffusers takes for Stable Diffusion.
    assert (card.sampling.steps, card.sampling.guidance) == (50, 7.5)
    assert any(text.startswith("steps, guidance: ") for text in added.assumed)
    assert add_model(toml, str(folder), None, None).name == "my-model-v2-2"


def test_a_checkpoint_in_one_file_becomes_a_card(toml: Path, tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "toon.safetensors"
    save_as_one_file(unet_pipeline(), file)
    add_model(toml, str(file), "toon", str(tiny_folders["good"]))
    card = load_models(toml).models["toon"]
    assert card.weights.file == str(file)
    assert card.weights.folder == str(tiny_folders["good"])


@pytest.mark.parametrize(
    ("source", "told"),
    [("/nowhere", "there is no /nowhere"), ("text.txt", "a checkpoint ends in"), ("lora.gguf", "with --config")],
)
def test_what_is_no_model_changes_nothing(toml: Path, tmp_path: Path, source: str, told: str) -> None:
    before = toml.read_text()
    for name in ("text.txt", "lora.gguf"):
        (tmp_path / name).write_text("-")
    with pytest.raises(CommandError, match=told):
        add_model(toml, source if source.startswith("/") else str(tmp_path / source), None, None)
    assert toml.read_text() == before
    assert list(toml.parent.glob("*.trial")) == []


def test_a_folder_with_faults_changes_nothing(toml: Path, tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    before = toml.read_text()
    folder = shutil.copytree(tiny_folders["good"], tmp_path / "damaged")
    shutil.rmtree(folder / "vae")
    with pytest.raises(CommandError, match="there is no folder vae"):
        add_model(toml, str(folder), None, None)
    assert toml.read_text() == before


def test_a_trial_makes_an_image_and_says_what_it_takes(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    toml = models_file(tmp_path / "models.toml", {"good": tiny_folders["good"]}, max_batch=2)
    done = subprocess.run(
        [sys.executable, "-m", "server.operator.command", "models", "check", "--run", "good", "--json"],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "BACKLOT_MODELS": str(toml), "BACKLOT_DATA": str(tmp_path / "data")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    trial = json.loads(done.stdout)["run"]
    with Image.open(trial["image"]) as image:
        assert image.size == (trial["width"], trial["height"])
    assert [size["batch_size"] for size in trial["sizes"]] == [1, 2]
    assert all(size["seconds_per_step"] > 0 and size["peak_bytes"] > 0 for size in trial["sizes"])
