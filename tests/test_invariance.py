"""Layers whose bits depend on the batch shape are found, and padded they give the bits of the larger shape."""

import pytest
import torch

from pipelines.invariance import padded, varying_layers

ROWS, FEWER = 8, 2


class Counting(torch.nn.Linear):  # type: ignore[misc]
    """A layer that goes another way for fewer rows, and says which rows it was given."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        self.given = len(rows)
        return super().forward(rows) * (1 + 2**-20 if len(rows) < ROWS else 1)


class Denoiser(torch.nn.Module):  # type: ignore[misc]
    """A convolution, and an embedding of each image by layers of which one depends on the shape."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.varying, self.steady = Counting(16, 4), torch.nn.Conv2d(4, 4, 3)
        self.shared = torch.nn.Linear(1, 1)

    def forward(self, images: torch.Tensor, embedded: torch.Tensor) -> torch.Tensor:
        scale = self.shared(torch.ones(1, 1))
        shifted = images + scale * self.varying(embedded)[:, :, None, None]
        return self.steady(torch.relu(shifted))


def test_only_what_depends_on_the_shape_is_padded() -> None:
    denoiser = Denoiser()
    images, embedded = torch.randn(ROWS, 4, 6, 6), torch.randn(ROWS, 16)
    whole, layers = varying_layers(denoiser, lambda: denoiser(images, embedded), ROWS, FEWER)
    assert layers == (denoiser.varying,)
    assert torch.equal(whole, denoiser(images, embedded))
    few = (images[:FEWER], embedded[:FEWER])
    assert not torch.equal(denoiser(*few), whole[:FEWER])
    with padded(layers, FEWER, ROWS):
        assert torch.equal(denoiser(*few), whole[:FEWER])
        assert denoiser.varying.given == ROWS
    denoiser(*few)
    assert denoiser.varying.given == FEWER


def test_a_call_that_fails_leaves_no_hooks() -> None:
    denoiser = Denoiser()
    with pytest.raises(RuntimeError):
        varying_layers(denoiser, lambda: denoiser(torch.zeros(ROWS, 3, 6, 6), torch.zeros(ROWS, 16)), ROWS, FEWER)
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in denoiser.modules())
