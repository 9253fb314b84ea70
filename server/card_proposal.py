"""A model card for a diffusers folder, worked out from its configuration, README and weights' headers, without torch.

It assumes what a folder does not say, and tells what it assumed.
"""

import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from pipelines.aspect_ratios import TIERS, Tier, side_of
from pipelines.checks.fit import options_of
from pipelines.diffusers_classes import DENOISERS, call_defaults, parameters
from pipelines.guidance import GUIDANCE, SECOND_GUIDANCE, ignores_guidance, takes_guidance
from pipelines.model_index import read_if_there, read_model_index
from pipelines.upscale import UPSCALING_PIPELINES
from pipelines.weight_files import BadWeights, read_header, read_tensors, weight_files

PROMPT = "An empty catalogue backdrop for product photography: {scene}, {mood} mood, {colors}"
NEGATIVE_PROMPT = "people, text, watermark, logo, clutter, blurry"
#: Models whose authors publish settings other than the defaults of their pipeline, most of them distilled to few steps and no
#: guidance: a pattern for the name, a part of the pipeline's name, the settings. The first row that fits counts.
_SETTINGS_BY_NAME: list[tuple[str, str, dict[str, Any]]] = [
    ("schnell", "Flux", {"steps": 4, "guidance": 0.0, "arguments": {"max_sequence_length": 256}}),
    ("turbo", "StableDiffusion3", {"steps": 4, "guidance": 0.0}),
    # https://huggingface.co/stabilityai/stable-diffusion-3.5-large and stable-diffusion-3.5-medium
    (r"(?:sd)?3\.?5.?large", "StableDiffusion3", {"steps": 28, "guidance": 3.5}),
    (r"(?:sd)?3\.?5.?medium", "StableDiffusion3", {"steps": 40, "guidance": 4.5}),
    # Those that others made of SDXL Turbo: CFG 2 and 4 to 8 steps, by https://civitai.com/models/112902/dreamshaper-xl
    ("(?<!sdxl.)(?<!sd.xl.)turbo", "StableDiffusionXL", {"steps": 8, "guidance": 2.0}),
    (
        "turbo",
        "StableDiffusion",
        {"steps": 1, "guidance": 0.0, "scheduler_options": {"timestep_spacing": "trailing"}},
    ),
    ("turbo", "ZImage", {"steps": 8, "guidance": 0.0}),
    (
        "lightning|hyper(?!.?real)",
        "StableDiffusionXL",
        {
            "steps": 4,
            "guidance": 0.0,
            "scheduler": "EulerDiscreteScheduler",
            "scheduler_options": {"timestep_spacing": "trailing"},
        },
    ),
    ("lcm", "StableDiffusion", {"steps": 4, "guidance": 0.0, "scheduler": "LCMScheduler"}),
    ("dev", "HiDream", {"steps": 28, "guidance": 0.0}),
    ("fast", "HiDream", {"steps": 16, "guidance": 0.0}),
]
#: The guidance of pipelines whose call names no number for it.
_GUIDANCE = {"Ideogram4Pipeline": 7.0}
#: The card's dtype by safetensors' name for the type of the weights. All other types give bfloat16, in which models with
#: narrower weights compute.
_DTYPES = {"F16": "float16", "F32": "float32"}
#: What is told of a dtype that its files name and that does not suit every box.
_DTYPE_TOLD = {
    None: "dtype: its weights do not say one",
    "float16": "dtype: that of its files; many CPUs compute float16 slowly, so write float32 if it is to run on one",
    "float32": "dtype: that of its files; on a GPU bfloat16 or float16 takes half the memory, and less time",
}
#: Pipelines that pack two by two latents into one before the denoiser sees them.
_PACKING = ("Flux", "Qwen", "Chroma", "Krea", "Bria", "Ovis", "LongCat", "ZImage")
#: Where a word begins in a name such as `toonXLLightningV2`.
_WORD_BEGINS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
#: Characters at the start of a README that are searched for a licence.
_HEAD = 4000


class Proposal(msgspec.Struct, frozen=True):
    """A card as models.toml writes it, without the model's place, and what was assumed."""

    card: dict[str, Any]
    assumed: list[str]


def propose(folder: Path, file: Path | None, called: str, licence: str | None, *, pickle: bool = False) -> Proposal:
    """Return a card for a folder, or for a checkpoint in one file with the folder's configuration.

    `called` is the name that people use for the model, `licence` the one that its hub names, and `pickle` whether pickled
    weights are trusted. Raises BadWeights, and OSError or ValueError if something cannot be examined.
    """
    index = read_model_index(folder)
    pipeline = index.pipeline or ""
    assumed: list[str] = []
    found = licence or _licence(folder)
    if found is None:
        assumed.append("licence: the model names none; write the true one, which clients see")
    card: dict[str, Any] = {"licence": found or "unknown"}
    variant, dtype = _variant_and_dtype(folder, pickle=pickle)
    if file is not None and file.suffix == ".safetensors":
        dtype = _dtype_of(file)
    if variant is not None:
        card["variant"] = variant
        assumed.append(f"variant: there are only files of variant {variant}")
    card["dtype"] = dtype or "float32"
    assumed += [_DTYPE_TOLD[dtype]] if dtype in _DTYPE_TOLD else []
    tiers = _tiers(folder)
    card["tiers"] = tiers or ["1K"]
    if tiers is None:
        assumed.append("tiers: its configuration names no size")
    card["multiple_of"] = _multiple(folder, pipeline)
    card |= _sampling(folder, pipeline, called, assumed)
    tensors = {} if file is None else read_tensors(file)
    if needed := options_of(tensors, folder, card.get("scheduler") or index.scheduler):
        card["scheduler_options"] = {**card.get("scheduler_options", {}), **needed}
        assumed.append("scheduler_options: the file says that its denoiser predicts v")
    card["prompt"] = PROMPT
    taken = parameters("pipelines", pipeline, "__call__") or ()
    if card.get("guidance_argument") == SECOND_GUIDANCE:
        # This guidance acts only if there is a negative prompt; a blank one will do.
        card |= {"negative_prompt": " "} if card["guidance"] > 1 else {}
    elif (
        "negative_prompt" in taken
        and SECOND_GUIDANCE not in taken
        and card["guidance"] > 1
        and not takes_guidance(folder)
    ):
        card["negative_prompt"] = NEGATIVE_PROMPT
    if pipeline in UPSCALING_PIPELINES:
        card["max_batch"] = 4
        assumed.append("prompt, max_batch: the same for every model; edit them as you like")
    else:
        card["max_batch"] = 1
        assumed.append("prompt: the same for every model; edit it as you like")
        assumed.append(f"max_batch: whether images of {pipeline} depend on those beside them is not tried")
    return Proposal(card, assumed)


def _sampling(folder: Path, pipeline: str, called: str, assumed: list[str]) -> dict[str, Any]:
    """Return steps and guidance: those of a model of few steps if its name says so, else the pipeline's own."""
    index = read_if_there(folder / "model_index.json")
    if takes_guidance(folder):
        assumed.append(
            "steps, guidance, scheduler: its UNet takes guidance as an input, as latent consistency models do"
        )
        return {"steps": 4, "guidance": 8.0, "scheduler": "LCMScheduler"}
    words = _WORD_BEGINS.sub(" ", called).lower()
    for name, kind, settings in _SETTINGS_BY_NAME:
        if kind in pipeline and (heard := re.search(rf"(^|[^a-z])({name})([^a-z]|$)", words)):
            assumed.append(f"steps, guidance: {called!r} sounds like {heard[2]}")
            return settings
    defaults = call_defaults(pipeline)
    taken = parameters("pipelines", pipeline, "__call__") or ()
    steps = defaults.get("num_inference_steps") or 30
    argument = GUIDANCE
    if pipeline.startswith("QwenImage") or argument not in taken:
        argument = next((name for name in taken if "guidance" in name or "cfg" in name), argument)
        argument = SECOND_GUIDANCE if SECOND_GUIDANCE in taken else argument
    guidance = _GUIDANCE.get(pipeline, defaults.get(argument))
    if index.get("is_distilled") is True:
        steps, guidance = (8, 0.0) if pipeline == "Krea2Pipeline" else (4, 1.0)
        assumed.append("steps, guidance: its configuration says that it is distilled")
    elif index.get("sample_sigmas"):
        steps = len(index["sample_sigmas"])
    else:
        assumed.append(
            f"steps, guidance: what {pipeline} takes if it is not told; on a CPU each step takes long, so try fewer"
        )
    if argument == GUIDANCE and ignores_guidance(folder, pipeline):
        guidance = min(1.0, guidance or 0.0)
        assumed.append("guidance: its configuration says that it heeds none")
    found: dict[str, Any] = {"steps": int(steps), "guidance": float(guidance or 0.0)}
    if argument != GUIDANCE:
        found["guidance_argument"] = argument
    return found


def _variant_and_dtype(folder: Path, *, pickle: bool) -> tuple[str | None, str | None]:
    """Return the variant of a folder without plain files, and the dtype of most bytes in its denoiser's first file.

    A folder beside a checkpoint in one file may lack the denoiser; its text encoder has the dtype then. Pickles do not tell
    their dtype.
    """
    for name in (*DENOISERS, "text_encoder"):
        component = folder / name
        if not component.is_dir():
            continue
        for variant in (None, "fp16", "bf16"):
            try:
                found = weight_files(component, variant, pickle=pickle)
            except BadWeights:
                continue
            return variant, None if found.pickled else _dtype_of(found.files[0])
    return None, None


def _dtype_of(file: Path) -> str:
    sizes: Counter[str] = Counter()
    for tensor in read_header(file).values():
        start, end = tensor.data_offsets
        sizes[tensor.dtype] += end - start
    return _DTYPES.get(max(sizes, key=lambda dtype: sizes[dtype]), "bfloat16")


def _tiers(folder: Path) -> list[Tier] | None:
    """Return the tier nearest to the size that the model was trained at; None if its configuration names none."""
    size = read_if_there(folder / "unet" / "config.json").get("sample_size")
    size = size or read_if_there(folder / "transformer" / "config.json").get("sample_size")
    if not isinstance(size, int):
        return None
    side = size * _vae_factor(folder)
    return [min(TIERS, key=lambda tier: abs(math.log(side_of(tier) / side)))]


def _multiple(folder: Path, pipeline: str) -> int:
    """Return the number, at least 16, that widths and heights must be multiples of."""
    factor = _vae_factor(folder)
    unet = read_if_there(folder / "unet" / "config.json")
    transformer = read_if_there(folder / "transformer" / "config.json")
    if unet:
        factor *= 2 ** (len(unet.get("block_out_channels", ())) - 1)
    patch = transformer.get("patch_size", 1)
    patch = patch[-1] if isinstance(patch, list) else patch
    factor *= patch if isinstance(patch, int) else 1
    if pipeline.startswith(_PACKING):
        factor *= 2
    return math.lcm(factor, 16)


def _vae_factor(folder: Path) -> int:
    """Return how many pixels a latent makes, in width and in height."""
    vae = read_if_there(folder / "vae" / "config.json")
    if "temperal_downsample" in vae:
        return int(2 ** len(vae["temperal_downsample"]))
    blocks = vae.get("block_out_channels") or vae.get("encoder_block_out_channels") or (0,) * 4
    return int(2 ** (len(blocks) - 1))


def _licence(folder: Path) -> str | None:
    """Return the licence that the head of the folder's README names, if it names one."""
    readme = folder / "README.md"
    if not readme.is_file():
        return None
    head = readme.read_text(encoding="utf-8", errors="replace")[:_HEAD]
    found = {name: value.strip() for name, value in re.findall(r"^(license|license_name):(.*)$", head, re.MULTILINE)}
    return found.get("license_name") or found.get("license") or None
