"""The promises about an image beside others, on every device.

In slots an image has the same bits at one place of a batch of one size, whatever its neighbours are. Most devices give
these bits at the other places too. Some do not: the general kernels of Intel's library, for CPUs that it does not know,
change the last bits of a few sums. `MKL_CBWR=COMPATIBLE` shows this, and the server warns of it.

In a whole batch the pipeline itself brings images together: HiDream gives the tokens of all of them to its experts.
"""

import torch

from pipelines.denoising.batch import Batch
from pipelines.denoising.slots import Slots

#: The largest difference between two places, for values of 0–1: far below half a step of 8 bits.
_LAST_BITS = 1e-4


def assert_same_in_company(batch: Batch, image: torch.Tensor, alone: torch.Tensor) -> None:
    """Fail unless a batch kept its promise for an image that it made at one place, alone and beside others."""
    if isinstance(batch, Slots):
        assert torch.equal(image, alone)
    else:
        assert_same_but_for_its_place(image, alone)


def assert_same_but_for_its_place(image: torch.Tensor, other: torch.Tensor) -> None:
    """Fail unless two pictures, (…, 3, height, width) in 0–1, could be one image at two places of a batch."""
    torch.testing.assert_close(image, other, rtol=0, atol=_LAST_BITS)
