"""Settings that make generation on a CPU faster."""

import ctypes
import os
from typing import Any

import torch
from diffusers import AutoencoderTiny

#: mallopt's numbers for these options, from malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, until device_memory.forget_peak.

    A decoder's arrays have tens of MiB. To get them anew from the system for every image, zeroed and in huge pages, slows
    the decoder down.
    """
    for option in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD):
        ctypes.CDLL(None).mallopt(option, 2**30)


def yield_to_server() -> None:
    """Let the server go first on the cores that both share, since its answers take little time."""
    os.nice(5)


def tune_decoder(vae: Any) -> None:
    """Lay out a VAE for fast decoding, on every device, so that devices differ as little as possible."""
    if all(weights.ndim <= 4 for weights in vae.parameters()):
        # Convolutions at full size are faster this way. Decoders of videos have no such layout.
        vae.to(memory_format=torch.channels_last)
    if isinstance(vae, AutoencoderTiny):
        # This saves an array as large as the image at each ReLU.
        for module in vae.modules():
            if isinstance(module, torch.nn.ReLU):
                module.inplace = True
