"""What an error of torch means for the images and for the process."""

import traceback

#: Words of CUDA, cuBLAS, cuDNN, oneDNN and torch's CPU allocator where memory ran out; lower case.
_NO_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "could not create a primitive",
    "status_alloc_failed",
    # cuBLAS where it gets no workspace.
    "cublas_status_not_initialized",
    "unable to find an engine to execute this computation",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether fewer rows, or fewer models in memory, may do."""
    text = str(error).lower()
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or any(words in text for words in _NO_MEMORY)
    )


def is_fatal(error: BaseException) -> bool:
    """Whether to give the device up: after most errors of CUDA, those of kernels above all, nothing but errors follows."""
    broken = type(error).__name__ == "AcceleratorError" or "CUDA error" in str(error)
    return broken and not is_out_of_memory(error)


def forget_frames(error: BaseException | None) -> None:
    """Drop what the frames of a traceback, and of its causes, refer to: tensors whose memory is wanted now."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
