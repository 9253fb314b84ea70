"""Cards that contradict their pipeline or ask for more than it has, and folders that cannot be used: found without torch."""

import json
import os
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from pipelines.checks.card import problems_of
from pipelines.checks.files import TEXT_PROCESSORS
from pipelines.colors import PaletteMode
from pipelines.diffusers_classes import class_names, models_in_one_file, parameters
from pipelines.model_card import ModelCard
from pipelines.upscale import Upscale
from tests.support.weights import bare_folder


def problems(folder: Path | None, **card: Any) -> str:
    values = {"licence": "l", "tiers": ("1K",), "steps": 2, "guidance": 2.0, **card}
    return "\n".join(problems_of(ModelCard.from_flat(name="x", **values), folder))


def test_a_good_folder_has_no_problems(tmp_path: Path) -> None:
    assert problems(bare_folder(tmp_path / "m")) == ""


@pytest.mark.parametrize(
    ("card", "told"),
    [
        ({"scheduler": "EulerDiscreteSchedular"}, "did you mean 'EulerDiscreteScheduler'?"),
        ({"scheduler": "UNet2DConditionModel"}, "diffusers has no such scheduler"),
        (
            {"scheduler": "EulerDiscreteScheduler", "scheduler_options": {"use_karras_sigma": True}},
            "scheduler_options.use_karras_sigma: EulerDiscreteScheduler has no such option; did you mean 'use_karras_sigmas'?",
        ),
        ({"scheduler_options": {"use_karras_sigmas": True}}, "DDIMScheduler has no such option"),
        ({"arguments": {"guidance_rescal": 0.5}}, "takes no such argument; did you mean 'guidance_rescale'?"),
        ({"arguments": {"num_inference_steps": 9}}, "the card's steps says it"),
        ({"arguments": {"timesteps": [9]}}, "the card's steps says it"),
        ({"arguments": {"height": 64}}, "the spec's resolution and aspect_ratio say it"),
        ({"arguments": {"guidance_scale": 9}}, "the card's guidance says it"),
        ({"arguments": {"eta": 1.0}, "scheduler": "EulerDiscreteScheduler"}, "arguments.eta: EulerDiscreteScheduler does not use"),
        ({"arguments": {"use_pe": True}}, "arguments.use_pe: the spec and the card's prompt say it"),
        ({"arguments": {"guidance_schedule": [3.0]}}, "arguments.guidance_schedule: the card's guidance says it"),
        ({"guidance_argument": "cfg"}, "StableDiffusionPipeline takes no such argument; it takes guidance_scale"),
        ({"guidance_argument": "guidance_scal"}, "did you mean 'guidance_scale'?"),
        ({"guidance_argument": "height"}, "that is not guidance"),
        ({"upscale": Upscale(tiers=("2K",)), "scheduler": "HeunDiscreteScheduler"}, "upscale: HeunDiscreteScheduler cannot begin in the middle"),
        ({"guidance_interval": (0.9, 0.2)}, "guidance_interval = [0.9, 0.2]: the first bound must be below the second one"),
        ({"guidance_interval": (0.0, 1.0)}, "guidance_interval = [0, 1]: the noise is always within these bounds; remove the key"),
        ({"guidance_interval": (0.2, 0.9), "guidance": 1.0}, "there is no guidance if guidance is 1; remove the key"),
        ({"guidance_interval": (0.2, 0.9), "slots": False}, "it acts only in slots"),
        ({"guidance_interval": (0.2, 0.9), "offload": "model"}, "it acts only in slots"),
        (
            {"guidance_interval": (0.2, 0.9), "scheduler": "EDMEulerScheduler"},
            "guidance_interval = [0.2, 0.9]: Backlot does not know how much noise EDMEulerScheduler leaves at each step",
        ),
        ({"variant": "fp16"}, "no file of the folder is of this variant"),
    ],
)  # fmt: skip
def test_what_a_card_asks_in_vain_is_refused(tmp_path: Path, card: dict[str, Any], told: str) -> None:
    assert told in problems(bare_folder(tmp_path / "m"), **card)


@pytest.mark.parametrize(
    ("pipeline", "scheduler", "told"),
    [
        ("FluxPipeline", "FlowMatchHeunDiscreteScheduler", "FluxPipeline tells its scheduler a shift"),
        ("FluxPipeline", "EulerDiscreteScheduler", "FluxPipeline tells its scheduler a shift"),
        ("FluxPipeline", "FlowMatchEulerDiscreteScheduler", ""),
        ("FluxPipeline", "FlowMatchLCMScheduler", ""),
        ("FluxPipeline", "UniPCMultistepScheduler", ""),
        ("StableDiffusion3Pipeline", "FlowMatchHeunDiscreteScheduler", ""),
        ("StableDiffusionXLPipeline", "EulerDiscreteScheduler", ""),
        ("StableDiffusionXLPipeline", "DPMSolverSDEScheduler", "draws its noise past the seeds of images; write DPMSolver"),
    ],
)  # fmt: skip
def test_a_scheduler_that_cannot_work_is_refused(pipeline: str, scheduler: str, told: str) -> None:
    found = problems(None, hub="a/b", pipeline=pipeline, scheduler=scheduler)
    assert told in found
    assert bool(found) == bool(told)


@pytest.mark.parametrize(
    "card",
    [
        {"scheduler": "EulerDiscreteScheduler", "scheduler_options": {"use_karras_sigmas": True}},
        {"arguments": {"guidance_rescale": 0.5, "clip_skip": 1, "eta": 1.0}},
        {"negative_prompt": "clutter"},
        {"scheduler": "PNDMScheduler", "guidance_interval": (0.2, 0.9), "palette": PaletteMode.STEER},
    ],
)
def test_what_the_pipeline_follows_is_not_refused(tmp_path: Path, card: dict[str, Any]) -> None:
    assert problems(bare_folder(tmp_path / "m"), **card) == ""


def test_a_pipeline_that_cannot_begin_with_a_picture_is_named(tmp_path: Path) -> None:
    folder = bare_folder(tmp_path / "m", pipeline="CogView4Pipeline")
    assert "upscale: CogView4Pipeline is not among those" in problems(folder, upscale=Upscale(tiers=("2K",)))


def test_a_card_that_steers_what_cannot_be_steered_is_refused(tmp_path: Path) -> None:
    folder = bare_folder(tmp_path / "m", pipeline="CogView4Pipeline")
    assert "palette = 'steer': CogView4Pipeline keeps" in problems(folder, palette=PaletteMode.STEER)
    assert problems(bare_folder(tmp_path / "n"), palette=PaletteMode.STEER) == ""


def folder_with_processor(folder: Path, kind: str) -> Path:
    bare_folder(folder)
    (folder / "processor").mkdir()
    (folder / "processor" / "tokenizer.json").write_text("{}")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "processor": ["transformers", kind]}))
    return folder


@pytest.mark.skipif(find_spec("torchvision") is not None, reason="torchvision is installed")
def test_a_processor_of_texts_and_pictures_names_the_package_that_it_needs(tmp_path: Path) -> None:
    told = problems(folder_with_processor(tmp_path / "m", "Gemma3Processor"))
    assert "processor: Gemma3Processor needs torchvision; install it with: " in told
    assert "-m pip install -c constraints.txt torchvision" in told


@pytest.mark.parametrize("kind", sorted(TEXT_PROCESSORS))
def test_a_processor_that_reads_texts_alone_needs_no_package(tmp_path: Path, kind: str) -> None:
    assert problems(folder_with_processor(tmp_path / "m", kind)) == ""


def test_a_negative_prompt_that_nothing_reads_is_refused(tmp_path: Path) -> None:
    folder = bare_folder(tmp_path / "m", pipeline="FluxPipeline")
    assert "only with guidance_argument = 'true_cfg_scale'" in problems(folder, negative_prompt="clutter")
    card = {"guidance_argument": "true_cfg_scale", "scheduler": "FlowMatchEulerDiscreteScheduler"}
    assert problems(folder, negative_prompt="clutter", **card) == ""


@pytest.mark.parametrize(
    ("pipeline", "told"),
    [
        ("StableDiffusionInpaintPipeline", "paints into a picture"),
        ("StableDiffusionXLImg2ImgPipeline", "changes a picture"),
        ("StableDiffusionXLControlNetPipeline", "follows a control picture"),
        ("WanPipeline", "makes films"),
        ("QwenImageEditPipeline", "needs more than words"),
        ("StableDiffusionUpscalePipeline", "text-to-image"),
        ("FutureImagePipeline", "the installed diffusers has no FutureImagePipeline; a newer one may have it"),
        ("DreamLitePipeline", "takes no callback_on_step_end (by which it would tell of its steps); use a model of"),
        (["own", "OwnPipeline"], "brings code of its own"),
    ],
)
def test_a_pipeline_of_another_kind_is_refused(tmp_path: Path, pipeline: Any, told: str) -> None:
    assert told in problems(bare_folder(tmp_path / "m", pipeline=pipeline))


def test_a_mistyped_pipeline_of_a_card_is_told_the_nearest() -> None:
    assert "did you mean 'StableDiffusionPipeline'?" in problems(None, hub="a/b", pipeline="StableDiffusionPipelin")


@pytest.mark.parametrize(
    ("hub", "told"),
    [
        ("https://huggingface.co/org/name/tree/main", "write hub = 'org/name'"),
        ("huggingface.co/org/name", "write hub = 'org/name'"),
        ("/models/sdxl", "write folder"),
        ("a/b/c", "write folder"),
        ("my model", "looks like org/name"),
        ("org/na..me", "looks like org/name"),
        ("org/name", ""),
        ("name", ""),
    ],
)
def test_what_is_no_hub_id(hub: str, told: str) -> None:
    found = problems(None, hub=hub)
    assert (told in found) if told else (found == "")


UNET = "unet/diffusion_pytorch_model.safetensors"


def cut(folder: Path) -> None:
    (folder / UNET).write_bytes((folder / UNET).read_bytes()[:-100])


def cut_in_the_header(folder: Path) -> None:
    (folder / UNET).write_bytes((folder / UNET).read_bytes()[:20])


def emptied(folder: Path) -> None:
    (folder / "text_encoder/model.safetensors").write_bytes(b"")


def pointer(folder: Path) -> None:
    (folder / "text_encoder/model.safetensors").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    )


def of_a_variant_only(folder: Path) -> None:
    (folder / UNET).rename((folder / UNET).with_suffix(".fp16.safetensors"))


def as_a_pickle_only(folder: Path) -> None:
    (folder / UNET).rename((folder / UNET).with_suffix(".bin"))


def without_weights(folder: Path) -> None:
    (folder / UNET).unlink()


def without_tokenizer(folder: Path) -> None:
    shutil.rmtree(folder / "tokenizer")


def without_vocabulary(folder: Path) -> None:
    (folder / "tokenizer/tokenizer.json").rename(folder / "tokenizer/tokenizer_config.json")


def without_a_shard(folder: Path) -> None:
    index = {
        "weight_map": {"weight": "diffusion_pytorch_model-00001-of-00002.safetensors", "other": "gone.safetensors"}
    }
    (folder / UNET).rename(folder / "unet/diffusion_pytorch_model-00001-of-00002.safetensors")
    (folder / f"{UNET}.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (cut, f"{UNET} has 3980 bytes, and its header says 4080"),
        (cut_in_the_header, f"{UNET} is no safetensors file, or is cut off (20 bytes)"),
        (emptied, "text_encoder/model.safetensors is no safetensors file, or is cut off (0 bytes)"),
        (pointer, "text_encoder/model.safetensors is a Git LFS pointer"),
        (of_a_variant_only, "set variant = 'fp16'"),
        (as_a_pickle_only, "convert it to safetensors"),
        (without_weights, "unet: its folder has no weights"),
        (without_tokenizer, "there is no folder tokenizer"),
        (without_vocabulary, "no vocabulary"),
        (without_a_shard, "unet/gone.safetensors is missing"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, damage: Callable[[Path], None], told: str) -> None:
    folder = bare_folder(tmp_path / "m")
    damage(folder)
    assert told in problems(folder)


def test_links_are_followed(tmp_path: Path) -> None:
    folder = bare_folder(tmp_path / "m")
    shutil.move(folder / "unet", tmp_path / "elsewhere")
    (folder / "unet").symlink_to(tmp_path / "elsewhere")
    assert problems(folder) == ""
    os.truncate(tmp_path / "elsewhere" / "diffusion_pytorch_model.safetensors", 100)
    assert "unet/diffusion_pytorch_model.safetensors" in problems(folder)


def test_diffusers_source_is_understood() -> None:
    assert "FlowMatchEulerDiscreteScheduler" in class_names("schedulers")
    assert "max_sequence_length" in (parameters("pipelines", "FluxPipeline", "__call__") or ())
    assert parameters("pipelines", "NoSuchPipeline", "__call__") is None
    assert {"FluxTransformer2DModel", "UNet2DConditionModel", "AutoencoderDC"} < models_in_one_file()


@pytest.mark.parametrize(
    ("own", "options", "told"),
    [
        ({"use_dynamic_shifting": True}, {"shift": 3.0}, "scheduler_options.shift: it does not act with"),
        ({"use_dynamic_shifting": True}, {"shift": 3.0, "use_dynamic_shifting": False}, ""),
        ({"use_dynamic_shifting": True}, {"max_shift": 1.2}, ""),
        ({}, {"shift": 3.0}, ""),
        ({}, {"max_shift": 1.2}, "scheduler_options.max_shift: it acts only with use_dynamic_shifting = true"),
        ({}, {"max_shift": 1.2, "use_dynamic_shifting": True}, ""),
    ],
)
def test_a_shift_that_would_not_act_is_refused(
    tmp_path: Path, own: dict[str, Any], options: dict[str, Any], told: str
) -> None:
    folder = bare_folder(tmp_path / "m", "FluxPipeline", "FlowMatchEulerDiscreteScheduler")
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(own))
    found = problems(folder, scheduler_options=options)
    assert told in found
    assert bool(found) == bool(told)


@pytest.mark.parametrize(
    ("pipeline", "says", "card", "told"),
    [
        ("FluxPipeline", {"guidance_embeds": False}, {"guidance": 3.5}, "guidance = 3.5: the model's configuration"),
        ("FluxPipeline", {"guidance_embeds": False}, {"guidance": 0.0}, ""),
        ("FluxPipeline", {"guidance_embeds": True}, {"guidance": 3.5}, ""),
        (
            "QwenImagePipeline",
            {"guidance_embeds": False},
            {"guidance_argument": "true_cfg_scale", "negative_prompt": " ", "arguments": {"guidance_scale": 5.0}},
            "arguments.guidance_scale: the model's configuration",
        ),
        (
            "QwenImagePipeline",
            {"guidance_embeds": False},
            {"guidance": 4.0},
            "write guidance = 1.0, or guidance_argument = 'true_cfg_scale'",
        ),
        ("Flux2KleinPipeline", {"is_distilled": True}, {"guidance": 4.0}, "guidance = 4: the model's configuration"),
        ("Flux2KleinPipeline", {"is_distilled": True}, {"guidance": 1.0}, ""),
        ("Flux2KleinPipeline", {}, {"guidance": 4.0}, ""),
    ],
)
def test_guidance_that_the_model_does_not_heed_is_refused(
    tmp_path: Path, pipeline: str, says: dict[str, Any], card: dict[str, Any], told: str
) -> None:
    folder = bare_folder(tmp_path / "m", pipeline, "FlowMatchEulerDiscreteScheduler")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, **says}))
    (folder / "transformer").mkdir()
    (folder / "transformer" / "config.json").write_text(json.dumps(says))
    found = problems(folder, **card)
    assert told in found
    assert bool(found) == bool(told)


@pytest.mark.parametrize("pipeline", ["FluxPipeline", "ZImagePipeline", "Lumina2Pipeline", "HiDreamImagePipeline"])
def test_an_interval_of_guidance_needs_a_pipeline_that_guides_in_one_call(pipeline: str) -> None:
    card = {"hub": "a/b", "pipeline": pipeline, "guidance_interval": (0.2, 0.9)}
    assert f"guidance_interval = [0.2, 0.9]: {pipeline} does not guide in one call" in problems(None, **card)
    assert "guidance_interval" not in problems(None, **{**card, "pipeline": "StableDiffusionXLPipeline"})


@pytest.mark.parametrize(
    ("card", "told"),
    [
        ({"guidance_interval": (0.2, 0.9)}, "guidance_interval: the model takes guidance as an input"),
        ({"negative_prompt": "clutter"}, "negative_prompt: the model takes guidance as an input"),
        ({"scheduler": "LCMScheduler"}, ""),
    ],
)
def test_a_unet_that_takes_guidance_as_an_input_guides_in_no_other_way(
    tmp_path: Path, card: dict[str, Any], told: str
) -> None:
    folder = bare_folder(tmp_path / "m")
    (folder / "unet" / "config.json").write_text(json.dumps({"time_cond_proj_dim": 256}))
    found = problems(folder, **card)
    assert told in found
    assert bool(found) == bool(told)
