"""Settings that make a GPU give the same bytes for the same seed."""

import os

import torch


def be_deterministic() -> None:
    """Let CUDA's libraries choose their algorithms by the work alone. Call this before the first matrix product."""
    # cuBLAS is only deterministic with a fixed workspace, which it reads once.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # A benchmark would choose algorithms by measured times, which differ from run to run.
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
