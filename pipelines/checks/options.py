"""Checks of the options that make a model fit or run faster against the model's components.

An option either acts on a model or is refused here. An option that the device cannot follow is refused when the model is
loaded.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

from pipelines.checks.packages import lack_of
from pipelines.denoising.families import SHOW_NEIGHBOURS, runs_in_slots
from pipelines.diffusers_classes import attribute, mentions
from pipelines.model_card import ModelCard
from pipelines.model_index import ModelIndex, read_if_there
from pipelines.step_cache import ACT_ON, FirstBlock, MagCache, kind_of

#: Kernels of attention that need a package, each with the module that computes it and that package.
_ATTENTION_PACKAGES = {
    "flash": ("flash_attn", "flash-attn"),
    "_flash_3": ("flash_attn_interface", "flash-attn-3"),
    "sage": ("sageattention", "sageattention"),
    "xformers": ("xformers", "xformers"),
}
#: Denoisers that heed `attention` only at steps that reuse an earlier step's keys and values of the prompt. None do here.
_OWN_ATTENTION = frozenset({"QwenImage21Transformer2DModel"})
#: Options of the group Weights that act on the denoiser.
ON_DENOISER = ("quantization", "layerwise_casting", "attention", "channels_last", "compile", "cache")
_COMPILERS = ("g++", "clang++", "c++")


def problems_of_options(card: ModelCard, folder: Path | None, index: ModelIndex | None) -> Iterator[str]:
    """Yield what is wrong with a card's options, each as `key = value: why`.

    `index` is what the folder's model_index.json says; both are None if the model is not on this box. Raises OSError or
    ValueError if the folder cannot be examined.
    """
    pipeline = card.weights.pipeline if index is None else str(index.pipeline)
    yield from _problems_of_whole_batches(card, pipeline)
    kinds = {} if index is None else {name: kind for name, (_, kind) in index.components.items()}
    denoiser = None if index is None else index.denoiser
    # A denoiser that comes from `file` may have no configuration.
    config = {} if folder is None or denoiser is None else read_if_there(folder / denoiser / "config.json")
    yield from _problems_of_narrow_weights(card, "quantization_config" in config)
    yield from _problems_of_parts(card, kinds, denoiser)
    if folder is not None and denoiser is None:
        for key in ON_DENOISER:
            if getattr(card.weights, key):
                yield f"{key}: it acts on a unet or a transformer, and the model has neither; remove the key"
        return
    yield from _problems_of_speed(card, None if denoiser is None else kinds[denoiser])
    yield from _problems_of_cache(card, pipeline)


def _problems_of_whole_batches(card: ModelCard, pipeline: str | None) -> Iterator[str]:
    if pipeline in SHOW_NEIGHBOURS and card.limits.max_batch > 1 and not runs_in_slots(card, pipeline):
        yield (
            f"max_batch = {card.limits.max_batch}: its images run as whole batches, and in one of {pipeline} an image would"
            " depend on its neighbours; write max_batch = 1"
        )


def _problems_of_narrow_weights(card: ModelCard, quantized: bool) -> Iterator[str]:
    weights = card.weights
    quantized = quantized or (weights.file or "").endswith(".gguf")
    chosen = {
        f"quantization = {weights.quantization!r}": weights.quantization is not None,
        "layerwise_casting = true": weights.layerwise_casting,
    }
    for key, is_set in chosen.items():
        if is_set and quantized:
            yield f"{key}: the denoiser's weights are quantized already; remove the key"
    if all(chosen.values()):
        yield "layerwise_casting = true: quantization makes the same weights narrow already; choose one of the two"
    if weights.quantization is not None and (lack := lack_of("torchao", "torchao")) is not None:
        yield f"quantization = {weights.quantization!r}: it {lack}"


def _problems_of_parts(card: ModelCard, kinds: dict[str, str], denoiser: str | None) -> Iterator[str]:
    vae = kinds.get("vae")
    if card.weights.vae_tiling and kinds and not mentions("models", str(vae), "use_tiling"):
        has_none = "the model has no VAE" if vae is None else f"{vae} of diffusers has no tiles"
        yield f"vae_tiling = true: {has_none}; remove the key"
    if card.residence.offload == "group":
        for name in filter(None, (denoiser, "vae")):
            if attribute("models", str(kinds.get(name)), "_supports_group_offloading") is False:
                yield f"offload = 'group': {kinds[name]} of diffusers does not allow it; write offload = 'model'"


def _problems_of_speed(card: ModelCard, kind: str | None) -> Iterator[str]:
    """Yield which options for speed cannot act: for want of a package, beside another option, or on a denoiser of `kind`."""
    weights = card.weights
    needed = _ATTENTION_PACKAGES.get(weights.attention or "")
    if needed is not None and (lack := lack_of(*needed)) is not None:
        yield f"attention = {weights.attention!r}: it {lack}"
    if weights.compile and not any(map(shutil.which, _COMPILERS)):
        yield "compile = true: torch needs a C++ compiler for it; install g++"
    if weights.compile and card.residence.offload is not None:
        yield "compile = true: compiled blocks cannot be offloaded; choose one of the two"
    if weights.compile and weights.layerwise_casting:
        yield "compile = true: compiled blocks cannot be cast layer by layer; choose one of the two, or quantization"
    if weights.compile and weights.cache is not None:
        yield "compile = true: a cache acts on the blocks that would be compiled; choose one of the two"
    if kind is None:
        return
    if weights.attention is not None and (
        kind in _OWN_ATTENTION or not mentions("models", kind, "dispatch_attention_fn", imports=True)
    ):
        yield f"attention = {weights.attention!r}: {kind} of diffusers computes attention in its own way; remove the key"
    if weights.channels_last and not kind.startswith("UNet"):
        yield f"channels_last = true: {kind} is not made of convolutions; remove the key"
    if weights.compile and not attribute("models", kind, "_repeated_blocks"):
        yield f"compile = true: {kind} of diffusers names no blocks to compile; remove the key"


def _problems_of_cache(card: ModelCard, pipeline: str | None) -> Iterator[str]:
    cache = card.weights.cache
    if cache is None:
        return
    if pipeline is not None and type(cache) not in ACT_ON.get(pipeline, ()):
        known = ", ".join(map(kind_of, ACT_ON.get(pipeline, ())))
        yield f"cache = {kind_of(cache)!r}: it does not act on {pipeline}; " + (
            f"there it may be one of {known}" if known else "remove the key"
        )
        return
    if isinstance(cache, FirstBlock) and card.limits.max_batch > 1:
        yield (
            f"cache = 'first_block': it decides for a whole batch at once, so that an image would depend on its neighbours;"
            f" write max_batch = 1 instead of {card.limits.max_batch}"
        )
    if isinstance(cache, MagCache) and not cache.mag_ratios and pipeline not in (None, "FluxPipeline"):
        yield f"cache = 'magcache': {pipeline} needs mag_ratios of its own, from a calibration by diffusers"
