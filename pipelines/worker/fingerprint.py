"""The fingerprint, which tells devices apart that compute other bits, such as two CPUs of one name or GPUs of two drivers."""

import hashlib

import torch
from torch.nn import functional

#: Sums of this many terms are split among a device's threads or blocks, whose order decides the last bits.
_TERMS = 1024


def fingerprint(device: torch.device) -> str:
    """Return 16 hex digits over the bits of a matrix product, a convolution and an attention of fixed random numbers.

    Equal fingerprints do not prove that images are equal; different ones show that images differ.
    """
    generator = torch.Generator("cpu").manual_seed(0)
    dtypes = [torch.float32] if device.type == "cpu" else [torch.float32, torch.bfloat16, torch.float16]
    digest = hashlib.sha256()
    for dtype in dtypes:
        left = torch.randn(64, _TERMS, generator=generator).to(device, dtype)
        right = torch.randn(_TERMS, 64, generator=generator).to(device, dtype)
        image = torch.randn(1, 32, 32, 32, generator=generator).to(device, dtype)
        kernel = torch.randn(32, 32, 3, 3, generator=generator).to(device, dtype)
        tokens = torch.randn(1, 4, 64, 32, generator=generator).to(device, dtype)
        for result in (
            left @ right,
            functional.silu(functional.conv2d(image, kernel, padding=1)),
            functional.scaled_dot_product_attention(tokens, tokens, tokens),
        ):
            digest.update(result.float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
