"""The checks of a card's files without reading weights: folders, checkpoints in one file, packages they need."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from pipelines.guidance import follows_negative_prompts
from pipelines.model_card import ModelCard
from server.card_files import with_download, with_files
from tests.support.weights import bare_folder


def placed(base: Path, **values: Any) -> tuple[ModelCard, str]:
    card = ModelCard.from_flat(name="m", licence="l", tiers=("1K",), steps=4, guidance=5.0, **values)
    found, problems = with_files(card, base)
    return found, "; ".join(problems)


def test_a_folder_says_its_pipeline_and_paths_are_relative_to_the_models_file(tmp_path: Path) -> None:
    bare_folder(tmp_path / "flux", "FluxPipeline", "FlowMatchEulerDiscreteScheduler")
    card, told = placed(tmp_path, folder="flux")
    assert told == ""
    assert card.weights.folder == str(tmp_path / "flux")
    assert card.weights.pipeline == "FluxPipeline"
    assert card.weights.own_scheduler == "FlowMatchEulerDiscreteScheduler"
    assert "the folder says 'FluxPipeline'" in placed(tmp_path, folder="flux", pipeline="SanaPipeline")[1]


def test_a_file_is_stamped_with_its_folder(tmp_path: Path) -> None:
    bare_folder(tmp_path / "sd")
    save_file({"weight": np.zeros(10, np.float32)}, tmp_path / "a b.safetensors")
    card, told = placed(tmp_path, folder="sd", file="a b.safetensors")
    assert told == ""
    assert card.weights.file == str(tmp_path / "a b.safetensors")
    before = card.weights.stamp
    save_file({"weight": np.ones(10, np.float32)}, tmp_path / "a b.safetensors")
    assert placed(tmp_path, folder="sd", file="a b.safetensors")[0].weights.stamp != before


def test_what_a_file_does_not_hold_must_be_in_its_folder(tmp_path: Path) -> None:
    folder = bare_folder(tmp_path / "sd")
    (folder / "text_encoder" / "model.safetensors").unlink()
    for key, told in (("cond_stage_model.weight", ""), ("model_ema.weight", "text_encoder: its folder has no weights")):
        save_file({key: np.zeros(10, np.float32), "unet.weight": np.zeros(10, np.float32)}, tmp_path / "a.safetensors")
        assert placed(tmp_path, folder="sd", file="a.safetensors")[1].startswith(told)
    (tmp_path / "a.ckpt").write_bytes(b"-")
    assert placed(tmp_path, folder="sd", file="a.ckpt", pickle=True)[1] == ""


def test_a_download_says_what_files_that_were_here_would(tmp_path: Path) -> None:
    folder = bare_folder(tmp_path / "commit", scheduler="PNDMScheduler")
    card = with_download(placed(tmp_path, hub="a/b")[0], folder)
    assert (card.weights.stamp, card.weights.pipeline) == ("commit", "StableDiffusionPipeline")
    assert card.weights.own_scheduler == "PNDMScheduler"
    save_file({"weight": np.zeros(10, np.float32)}, tmp_path / "a.safetensors")
    beside = with_download(placed(tmp_path, hub="a/b", file="a.safetensors")[0], folder)
    assert str(beside.weights.stamp).startswith("commit+")


def test_a_model_that_takes_guidance_as_an_input_follows_no_negative_prompt(tmp_path: Path) -> None:
    folder = bare_folder(tmp_path / "lcm")
    assert follows_negative_prompts(placed(tmp_path, folder="lcm")[0])
    (folder / "unet" / "config.json").write_text('{"time_cond_proj_dim": 256}')
    assert not follows_negative_prompts(placed(tmp_path, folder="lcm")[0])


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("absent.safetensors", None, "there is no such file"),
        ("cut.safetensors", b"\0" * 9, "cut off"),
        ("pointer.safetensors", b"version https://git-lfs.github.com/spec/v1\n" + b"-" * 60, "git lfs pull"),
        ("model.ckpt", b"-", "write pickle = true"),
        ("model.gguf", b"-", "is no GGUF file"),
        ("model.zip", b"-", "a checkpoint ends in"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_told(tmp_path: Path, name: str, content: bytes | None, told: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert told in placed(tmp_path, file=name)[1]


def test_pickled_weights_need_the_card_s_word(tmp_path: Path) -> None:
    folder = bare_folder(tmp_path / "sd")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").rename(folder / "unet" / "diffusion_pytorch_model.bin")
    assert "only diffusion_pytorch_model.bin; pickles can run code" in placed(tmp_path, folder="sd")[1]
    assert placed(tmp_path, folder="sd", pickle=True)[1] == ""


def test_a_package_that_a_part_needs_is_named(tmp_path: Path) -> None:
    folder = bare_folder(tmp_path / "sd")
    (folder / "unet" / "config.json").write_text(json.dumps({"quantization_config": {"quant_method": "nunchaku_lite"}}))
    told = placed(tmp_path, folder="sd")[1]
    assert "unet: its weights are quantized by nunchaku_lite, which needs kernels; install it with" in told


@pytest.mark.parametrize("library", ["unet_own", "diffusers_modules.local.unet_own", ""])
def test_a_part_that_brings_code_of_its_own_is_refused(tmp_path: Path, library: str) -> None:
    folder = bare_folder(tmp_path / "sd")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "unet": [library, "OwnUNet"]}))
    assert "unet: its OwnUNet brings code of its own, which is not run here" in placed(tmp_path, folder="sd")[1]


def test_a_part_that_is_optional_may_be_absent(tmp_path: Path) -> None:
    folder = bare_folder(tmp_path / "sd")
    index = json.loads((folder / "model_index.json").read_text())
    checker = {"safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"]}
    (folder / "model_index.json").write_text(json.dumps({**index, **checker}))
    assert placed(tmp_path, folder="sd")[1] == ""
    (folder / "model_index.json").write_text(json.dumps({**index, "vae": ["diffusers", "AutoencoderKL"]}))
    assert "vae: model_index.json names it" in placed(tmp_path, folder="sd")[1]


def test_guidance_that_needs_a_negative_prompt_is_refused_without_one(tmp_path: Path) -> None:
    bare_folder(tmp_path / "qwen", "QwenImagePipeline", "FlowMatchEulerDiscreteScheduler")
    card = {"folder": "qwen", "guidance_argument": "true_cfg_scale"}
    assert 'write negative_prompt = " "' in placed(tmp_path, **card)[1]
    assert placed(tmp_path, negative_prompt=" ", **card)[1] == ""
