"""Models load completely or not at all: missing and left-over weights, files that change, cards that contradict a pipeline."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipelines.model_card import ModelCard
from pipelines.worker.components import modules_of
from pipelines.worker.loader import CannotLoad, LoadedModel, load, revision_of
from tests.support import tiny

TEXT = "text_encoder/model.safetensors"
UNET = "unet/diffusion_pytorch_model.safetensors"
VAE = "vae/diffusion_pytorch_model.safetensors"
Weights = dict[str, torch.Tensor]


@pytest.fixture
def folder(tiny_folders: dict[str, Path], tmp_path: Path) -> Path:
    """Return a folder of a good model, to be damaged."""
    return shutil.copytree(tiny_folders["good"], tmp_path / "model")


def loaded(folder: Path, **card: Any) -> LoadedModel:
    values = {"licence": "-", "tiers": ("0.5K",), "steps": 3, "guidance": 2.0, **card}
    return load(ModelCard.from_flat(name="m", folder=str(folder), **values), traced=False)


def refused(folder: Path, **card: Any) -> str:
    with pytest.raises(CannotLoad) as error:
        loaded(folder, **card)
    return str(error.value)


def rewrite(file: Path, change: Callable[[Weights], Weights]) -> None:
    save_file(change({key: tensor.clone() for key, tensor in load_file(file).items()}), file, {"format": "pt"})


@pytest.mark.parametrize("file", [TEXT, UNET, VAE])
def test_missing_weights_are_named_with_component_and_file(folder: Path, file: str) -> None:
    key = sorted(load_file(folder / file))[0]
    rewrite(folder / file, lambda weights: {name: tensor for name, tensor in weights.items() if name != key})
    component, name = file.split("/")
    told = refused(folder)
    assert f"{component}: {name} lacks " in told
    assert key.rpartition("text_model.")[2] in told


@pytest.mark.parametrize("file", [TEXT, UNET, VAE])
def test_weights_of_another_prefix_are_refused(folder: Path, file: str) -> None:
    rewrite(folder / file, lambda weights: {f"first_stage.{name}": tensor for name, tensor in weights.items()})
    told = refused(folder)
    assert "lacks" in told
    assert "more" in told


@pytest.mark.parametrize("file", [TEXT, UNET, VAE])
def test_weights_that_the_model_does_not_have_are_refused_unless_harmless(
    folder: Path, file: str, caplog: pytest.LogCaptureFixture
) -> None:
    rewrite(folder / file, lambda weights: {**weights, "lm_head.weight": torch.zeros(1)})
    with caplog.at_level("INFO"):
        loaded(folder)
    assert "lm_head.weight" in caplog.text
    rewrite(folder / file, lambda weights: {**weights, "layers.77.weight": torch.zeros(1)})
    assert "layers.77.weight" in refused(folder)


@pytest.mark.parametrize("file", [TEXT, UNET, VAE])
def test_weights_of_another_shape_are_refused(folder: Path, file: str) -> None:
    rewrite(folder / file, lambda weights: {name: torch.cat([tensor, tensor]) for name, tensor in weights.items()})
    assert file.split("/", maxsplit=1)[0] in refused(folder)


@pytest.mark.parametrize("file", [TEXT, UNET])
def test_shards_are_checked_as_single_files_are(folder: Path, file: str) -> None:
    weights = load_file(folder / file)
    names = sorted(weights)
    path, stem = folder / file, Path(file).stem
    shards = {f"{stem}-0000{part}-of-00002.safetensors": names[part - 1 :: 2] for part in (1, 2)}
    path.unlink()
    for shard, keys in shards.items():
        save_file({key: weights[key].clone() for key in keys}, path.parent / shard, {"format": "pt"})
    index = {"metadata": {}, "weight_map": {key: shard for shard, keys in shards.items() for key in keys}}
    (path.parent / f"{path.name}.index.json").write_text(json.dumps(index))
    loaded(folder)
    # The index still lists a weight that its first shard no longer has.
    rewrite(path.parent / next(iter(shards)), lambda weights: dict(sorted(weights.items())[1:]))
    assert "lacks" in refused(folder)


@pytest.mark.parametrize("name", ["sdxl", "flux", "flux2_klein", "z_image", "qwen_image"])
def test_every_family_is_read_with_the_weights_that_it_was_saved_with(tmp_path: Path, name: str) -> None:
    pipeline = getattr(tiny, f"{name}_pipeline")()
    pipeline.save_pretrained(tmp_path / "model", safe_serialization=True)
    cards: dict[str, dict[str, Any]] = {
        "qwen_image": {"guidance_argument": "true_cfg_scale", "negative_prompt": " "},
        "flux2_klein": {"guidance": 1.0},
    }
    read = loaded(tmp_path / "model", multiple_of=32, **cards.get(name, {})).pipeline
    for part, module in pipeline.components.items():
        if isinstance(module, torch.nn.Module):
            weights = read.components[part].state_dict()
            assert weights.keys() == module.state_dict().keys()
            assert all(torch.equal(weights[key], tensor) for key, tensor in module.state_dict().items())


def test_a_card_that_asks_in_vain_is_refused(folder: Path) -> None:
    assert "did you mean 'clip_sample'?" in refused(folder, scheduler_options={"clip_sampel": False})


def test_weights_in_memory_do_not_change_with_their_files(folder: Path) -> None:
    model = loaded(folder)
    parts = modules_of(model.pipeline)
    before = [{key: tensor.clone() for key, tensor in part.state_dict().items()} for part in parts]
    for file in (TEXT, UNET, VAE):
        # With a mapped file this would change the weights, and the shorter file would end the process.
        with (folder / file).open("r+b") as opened:
            opened.write(b"\xff" * (folder / file).stat().st_size)
        os.truncate(folder / file, 0)
    for part, weights in zip(parts, before, strict=True):
        assert all(torch.equal(tensor, weights[key]) for key, tensor in part.state_dict().items())


def test_weights_in_memory_are_aligned_as_in_their_file(folder: Path) -> None:
    # load_file maps the file, whose header may have any length, and a CPU's bits depend on where the weights lie.
    mapped, own = load_file(folder / UNET), loaded(folder).pipeline.unet.state_dict()
    assert {key: tensor.data_ptr() % 64 for key, tensor in own.items()} == {
        key: tensor.data_ptr() % 64 for key, tensor in mapped.items()
    }
    assert not {tensor.data_ptr() for tensor in own.values()} & {tensor.data_ptr() for tensor in mapped.values()}


def test_a_revision_follows_links(folder: Path, tmp_path: Path) -> None:
    shutil.move(folder / "unet", tmp_path / "elsewhere")
    (folder / "unet").symlink_to(tmp_path / "elsewhere")
    before = loaded(folder)
    assert before.revision == revision_of(before.card, folder)
    rewrite(
        tmp_path / "elsewhere" / Path(UNET).name, lambda weights: {key: tensor + 1 for key, tensor in weights.items()}
    )
    assert loaded(folder).revision != before.revision
