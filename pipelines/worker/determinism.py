"""What makes a GPU give the same bytes for the same seed."""

import os

import torch


def be_deterministic() -> None:
    """Let libraries of CUDA choose their algorithms by nothing but the work. Must come before the first matrix product."""
    # cuBLAS is only deterministic with a fixed workspace, which it reads once.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # No algorithm may be picked by a stop-watch.
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
