"""Muon (Jordan et al. 2024): an optimizer for the weights of hidden layers, which makes their momentum orthogonal.

The update is scaled to AdamW's usual size (Liu et al. 2025), so that both share one learning rate.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class Muon(torch.optim.Optimizer):
    """The optimizer of weights of two and more dimensions: the first is that of outputs, the others are those of inputs.

    Weights of one shape are stepped together. The learning rate may be a tensor.
    """

    def __init__(
        self, params: Iterable[Tensor], lr: float | Tensor, momentum: float = 0.95, weight_decay: float = 0.01
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            shapes: dict[tuple[int, int], list[Tensor]] = defaultdict(list)
            for weight in group["params"]:
                if weight.grad is not None:
                    shapes[len(weight), weight[0].numel()].append(weight)
            for shape, weights in shapes.items():
                updates = [self._update(weight, weight.grad, group["momentum"]) for weight in weights]
                rate = group["lr"] * 0.2 * max(shape) ** 0.5
                for weight, update in zip(weights, _orthogonal(torch.stack(updates)), strict=True):
                    weight.mul_(1 - group["lr"] * group["weight_decay"])
                    weight.sub_(update.view_as(weight) * rate)

    def _update(self, weight: Tensor, gradient: Any, momentum: float) -> Tensor:
        """Return the weight's gradient with its momentum, as a matrix."""
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        state["momentum"].lerp_(gradient, 1 - momentum)
        update: Tensor = gradient.lerp(state["momentum"], momentum).flatten(1)
        return update


def _orthogonal(matrices: Tensor) -> Tensor:
    """Return about the nearest matrices with orthonormal rows or columns, by five Newton–Schulz steps in bfloat16.

    Their shape is (count, rows, columns).
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x = (matrices.mT if tall else matrices).bfloat16()
    x = x / (torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        square = x @ x.mT
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return (x.mT if tall else x).to(matrices.dtype)
