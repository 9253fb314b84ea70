"""Options of a card that make a model fit: one that cannot act on a model is refused without torch."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from pipelines.checks.card import problems_of
from pipelines.model_card import ModelCard
from pipelines.step_cache import FirstBlock, MagCache
from tests.support.weights import bare_folder


def problems(folder: Path, **card: Any) -> str:
    values = {"licence": "l", "tiers": ("1K",), "steps": 2, "guidance": 2.0, **card}
    return "\n".join(problems_of(ModelCard.from_flat(name="x", **values), folder))


def with_part(folder: Path, name: str, kind: str, **config: Any) -> Path:
    """Return a bare folder that names another class of diffusers for one of its parts."""
    bare_folder(folder)
    index = json.loads((folder / "model_index.json").read_text())
    index[name] = ["diffusers", kind]
    (folder / "model_index.json").write_text(json.dumps(index))
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "config.json").write_text(json.dumps(config))
    weights = folder / name / "diffusion_pytorch_model.safetensors"
    if not weights.exists():
        weights.write_bytes((folder / "unet" / "diffusion_pytorch_model.safetensors").read_bytes())
    return folder


@pytest.mark.parametrize(
    "card",
    [
        pytest.param(
            {"quantization": "int8"},
            marks=pytest.mark.skipif(find_spec("torchao") is None, reason="torchao is not installed"),
        ),
        {"layerwise_casting": True},
        {"offload": "model"},
        {"offload": "group"},
        {"vae_tiling": True},
    ],
    ids=str,
)
def test_what_can_act_is_accepted(tmp_path: Path, card: dict[str, Any]) -> None:
    assert problems(with_part(tmp_path / "m", "vae", "AutoencoderKL"), **card) == ""


@pytest.mark.skipif(find_spec("torchao") is not None, reason="torchao is installed")
def test_quantization_names_the_package_that_it_needs(tmp_path: Path) -> None:
    assert "it needs torchao; install it with" in problems(bare_folder(tmp_path / "m"), quantization="int8")


def test_weights_are_made_narrow_in_one_way(tmp_path: Path) -> None:
    both = problems(bare_folder(tmp_path / "m"), quantization="int8", layerwise_casting=True)
    assert "choose one of the two" in both
    quantized = with_part(
        tmp_path / "q", "unet", "UNet2DConditionModel", quantization_config={"quant_method": "torchao"}
    )
    for option in ({"quantization": "float8"}, {"layerwise_casting": True}):
        assert "quantized already; remove the key" in problems(quantized, **option)
        assert "quantized already; remove the key" in problems(tmp_path / "m", file="x.gguf", **option)


@pytest.mark.parametrize(
    ("kind", "card", "told"),
    [
        ("UNet2DConditionModel", {"channels_last": True}, ""),
        ("UNet2DConditionModel", {"attention": "native"}, "computes attention in its own way; remove the key"),
        ("UNet2DModel", {"compile": True}, "compile = true: UNet2DModel of diffusers names no blocks to compile"),
        (
            "UNet2DConditionModel",
            {"cache": MagCache()},
            "cache = 'magcache': it does not act on StableDiffusionPipeline",
        ),
    ],
)
def test_what_a_unet_can_do(tmp_path: Path, kind: str, card: dict[str, Any], told: str) -> None:
    found = problems(with_part(tmp_path / "m", "unet", kind), **card)
    assert told in found
    assert bool(found) == bool(told)


def test_a_model_without_a_denoiser_has_nothing_to_act_on(tmp_path: Path) -> None:
    folder = bare_folder(tmp_path / "m")
    index = json.loads((folder / "model_index.json").read_text())
    index["prior"] = index.pop("unet")
    (folder / "unet").rename(folder / "prior")
    (folder / "model_index.json").write_text(json.dumps(index))
    assert problems(folder) == ""
    assert "layerwise_casting: it acts on a unet or a transformer, and the model has neither" in problems(
        folder, layerwise_casting=True
    )


def test_compiling_needs_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = bare_folder(tmp_path / "m")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "compile = true: torch needs a C++ compiler for it; install g++" in problems(folder, compile=True)


def test_a_cache_of_a_hub_s_model_is_checked_before_its_download() -> None:
    values = {"hub": "a/b", "licence": "l", "tiers": ("1K",), "steps": 2, "guidance": 2.0}
    card = ModelCard.from_flat(**values, pipeline="Flux2KleinPipeline", cache=FirstBlock(), max_batch=1)
    told = "\n".join(problems_of(card, None))
    assert "cache = 'first_block': it does not act on Flux2KleinPipeline; there it may be one of taylorseer" in told


@pytest.mark.parametrize(
    ("pipeline", "card", "is_refused"),
    [
        ("Kandinsky5T2IPipeline", {}, False),
        ("Kandinsky5T2IPipeline", {"slots": False}, True),
        ("Kandinsky5T2IPipeline", {"slots": False, "max_batch": 1}, False),
        ("QwenImage21Pipeline", {"offload": "model"}, True),
        ("QwenImage21Pipeline", {"offload": "group"}, False),
        ("QwenImagePipeline", {"slots": False}, False),
        ("GlmImagePipeline", {}, True),
    ],
)
def test_whole_batches_that_would_show_neighbours_are_refused(
    pipeline: str, card: dict[str, Any], is_refused: bool
) -> None:
    values = {"hub": "a/b", "licence": "l", "tiers": ("1K",), "steps": 2, "guidance": 1.0, "max_batch": 4, **card}
    told = "\n".join(problems_of(ModelCard.from_flat(**values, pipeline=pipeline), None))
    assert (f"max_batch = 4: its images run as whole batches, and in one of {pipeline}" in told) == is_refused


def test_a_vae_without_tiles_has_none(tmp_path: Path) -> None:
    folder = with_part(tmp_path / "m", "vae", "AsymmetricAutoencoderKL")
    assert "vae_tiling = true: AsymmetricAutoencoderKL of diffusers has no tiles" in problems(folder, vae_tiling=True)


def test_a_part_that_allows_no_groups_is_named(tmp_path: Path) -> None:
    folder = with_part(tmp_path / "m", "vae", "VQModel")
    told = problems(folder, offload="group")
    assert "offload = 'group': VQModel of diffusers does not allow it; write offload = 'model'" in told
    assert problems(folder, offload="model") == ""
