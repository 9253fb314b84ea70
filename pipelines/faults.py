"""What an error of torch means for the images and for the process."""

#: Words of CUDA, cuBLAS, cuDNN, oneDNN and torch's CPU allocator where memory ran out; lower case.
_NO_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "could not create a primitive",
    "status_alloc_failed",
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
    """Whether the device is lost to this process: after a fault of its kernels a CUDA context gives nothing but errors."""
    broken = type(error).__name__ == "AcceleratorError" or "CUDA error" in str(error)
    return broken and not is_out_of_memory(error)
