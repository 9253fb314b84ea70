"""The options of a card that make a model fit into its device. https://huggingface.co/docs/diffusers/optimization/memory"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import AutoencoderKL

from pipelines.checks.options import ON_DENOISER
from pipelines.denoising.families import find_denoiser
from pipelines.diffusers_classes import DENOISERS
from pipelines.memory_estimate import most_at_once
from pipelines.model_card import ModelCard

#: The dtype in which weights are stored that are cast while their layer computes.
_STORED_AS = torch.float8_e4m3fn


class OptionRefused(Exception):
    """An option of a card cannot act on this model or this device; the message says why, and the way out."""


def make_narrow(card: ModelCard, pipeline: Any) -> None:
    """Quantize the denoiser, or have its layers cast, as the card says. Raises OptionRefused."""
    weights = card.weights
    if weights.quantization is not None:
        # torchao is imported here because it need not be installed.
        from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig, quantize_

        how = Int8WeightOnlyConfig() if weights.quantization == "int8" else Float8WeightOnlyConfig()
        quantize_(denoiser_of(pipeline), how)
    if weights.layerwise_casting:
        dtype = getattr(torch, weights.dtype)
        denoiser_of(pipeline).enable_layerwise_casting(storage_dtype=_STORED_AS, compute_dtype=dtype)


@contextmanager
def widened(pipeline: Any) -> Iterator[None]:
    """Widen layers that are otherwise cast only while they compute, so that adapters added inside the block are wide too."""
    denoiser = find_denoiser(pipeline)
    layers = [] if denoiser is None else [layer for layer in denoiser.modules() if _is_cast(layer)]
    for layer in layers:
        layer.to(denoiser.dtype)
    try:
        yield
    finally:
        for layer in layers:
            layer.to(_STORED_AS)


def _is_cast(layer: torch.nn.Module) -> bool:
    return any(weight.dtype == _STORED_AS for weight in layer.parameters(recurse=False))


def enable_tiling(vae: Any) -> None:
    """Have a VAE decode in tiles. Raises OptionRefused if its tiles would not make up an image."""
    try:
        vae.enable_tiling()
    except (AttributeError, NotImplementedError) as error:
        raise OptionRefused(f"vae_tiling = true: {type(vae).__name__} has no tiles; remove the key") from error
    if isinstance(vae, AutoencoderKL):
        # Tiles begin at whole latents, and the pixels kept of each tile must be those of as many latents.
        factor = 2 ** (len(vae.config.block_out_channels) - 1)
        kept = 1 - vae.tile_overlap_factor
        if int(vae.tile_latent_min_size * kept) * factor != int(vae.tile_sample_min_size * kept):
            raise OptionRefused(
                f"vae_tiling = true: the tiles of this VAE, of {vae.tile_sample_min_size} pixels, do not overlap by whole"
                " latents; remove the key"
            )


def place(card: ModelCard, pipeline: Any, device: torch.device) -> None:
    """Bring a pipeline to its device as the card says.

    Raises OptionRefused, and torch's error if memory runs out.
    """
    if card.residence.offload is None:
        pipeline.to(device)
        return
    if device.type == "cpu":
        raise OptionRefused(
            f"offload = {card.residence.offload!r}: on a CPU the weights are in its memory already; remove the key"
        )
    offload(card, pipeline, device)


def offload(card: ModelCard, pipeline: Any, device: torch.device) -> None:
    """Keep the weights in host memory, and bring to the device those that compute. Raises OptionRefused."""
    try:
        if card.residence.offload == "model":
            pipeline.enable_model_cpu_offload(device=device)
            return
        pipeline.enable_group_offload(
            onload_device=device,
            offload_device=torch.device("cpu"),
            offload_type="leaf_level",
            # With a stream the next layer comes to the device while one computes.
            use_stream=device.type == "cuda",
            exclude_modules=_kept_whole_in(pipeline),
        )
    except ValueError as error:
        raise OptionRefused(f"offload = {card.residence.offload!r}: {error}; remove the key") from error


def _kept_whole_in(pipeline: Any) -> list[str]:
    """Return the components that group offloading leaves on the device.

    A VAE that the pipeline turns to float32 for decoding is one: its layers would come to the device in float16.
    """
    vae: Any = getattr(pipeline, "vae", None)
    widens = vae is not None and vae.dtype == torch.float16 and getattr(vae.config, "force_upcast", False)
    return ["vae"] if widens else []


def bytes_on_device(card: ModelCard, pipeline: Any) -> int:
    """Return the most bytes of the device's memory that a model's weights take."""
    sizes = {
        name: sum(map(tensor_bytes, (*part.parameters(), *part.buffers())))
        for name, part in pipeline.components.items()
        if isinstance(part, torch.nn.Module)
    }
    return most_at_once(sizes, card, _kept_whole_in(pipeline))


def tensor_bytes(tensor: torch.Tensor) -> int:
    """Return the bytes of a tensor. A quantized one has the dtype that it stands for, but holds narrower tensors."""
    if hasattr(tensor, "__tensor_flatten__"):
        names, _ = tensor.__tensor_flatten__()
        return sum(tensor_bytes(getattr(tensor, name)) for name in names)
    return int(tensor.nbytes)


def denoiser_of(pipeline: Any) -> Any:
    """Return a pipeline's denoiser. Raises OptionRefused if no component has a known name of denoisers."""
    denoiser = find_denoiser(pipeline)
    if denoiser is None:
        raise OptionRefused(
            f"{type(pipeline).__name__} has no {' or '.join(DENOISERS)}, on which {', '.join(ON_DENOISER)} act;"
            " remove these keys"
        )
    return denoiser
