"""The meaning of an error of torch for the images and for the process."""

import itertools
import traceback

import torch

#: Words of CUDA, cuBLAS, cuDNN, oneDNN and torch's CPU allocator when memory runs out, in lower case.
_NO_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "could not create a primitive",
    "status_alloc_failed",
    # cuBLAS says this if it gets no workspace.
    "cublas_status_not_initialized",
    "unable to find an engine to execute this computation",
)

_unseen_widths = itertools.count(1009)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out, so that a smaller batch, or fewer models in memory, may help."""
    text = str(error).lower()
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or any(words in text for words in _NO_MEMORY)
    )


def is_fatal(error: BaseException) -> bool:
    """Return whether the device is lost: after most errors of CUDA, above all those of kernels, every call fails."""
    broken = type(error).__name__ == "AcceleratorError" or "CUDA error" in str(error)
    return broken and not is_out_of_memory(error)


def still_convolves() -> bool:
    """Return whether oneDNN, the CPU's library of convolutions, still makes new ones.

    Once it found no memory for the code of one, it may never make another in this process, however much memory is free.
    """
    # It keeps the ones that it has made, so only a size that it has never seen shows this.
    width = next(_unseen_widths)
    try:
        torch.nn.functional.conv2d(torch.zeros(1, 8, 3, width), torch.zeros(8, 8, 3, 3))
    except RuntimeError:
        return False
    return True


def forget_frames(error: BaseException | None) -> None:
    """Drop the tensors that the frames of an error and its causes hold, since their memory is needed now."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
