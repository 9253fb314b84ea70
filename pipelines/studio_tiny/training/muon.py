"""Muon (Jordan et al. 2024): momentum, made orthogonal, for the weights of hidden layers; AdamW for all else.

The update is scaled to AdamW's usual size (Liu et al. 2025), so that both share one learning rate.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor


class Muon(torch.optim.Optimizer):
    """Steps weights of two and more dimensions; the first is what goes out, the others together what comes in."""

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.01) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                state["momentum"].lerp_(weight.grad, 1 - group["momentum"])
                update = weight.grad.lerp(state["momentum"], group["momentum"])
                flat = _orthogonal(update.flatten(1))
                size = 0.2 * max(flat.shape) ** 0.5
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(flat.view_as(weight), alpha=-group["lr"] * size)


def _orthogonal(matrix: Tensor) -> Tensor:
    """Return nearly the nearest matrix with orthonormal rows or columns, by five Newton–Schulz steps in bfloat16."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix).bfloat16()
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return (x.T if tall else x).to(matrix.dtype)


def optimizers(model: torch.nn.Module, lr: float, outer: Sequence[str]) -> list[torch.optim.Optimizer]:
    """Return Muon for the hidden weights of the model, and AdamW for biases, norms and weights named in `outer`.

    `outer` has parts of the names of the embeddings and of the first and last layers.
    """
    hidden: list[Tensor] = []
    others: list[Tensor] = []
    for name, weight in model.named_parameters():
        (others if weight.ndim < 2 or any(part in name for part in outer) else hidden).append(weight)
    return [Muon(hidden, lr), torch.optim.AdamW(others, lr, betas=(0.9, 0.99), weight_decay=0.01)]
