"""Layers whose bits depend on the batch size are found, and give the bits of the larger one once they are padded."""

from typing import Any

import pytest
import torch

from pipelines.denoising.exact_batch import layers_to_pad, padded

FULL, FEW = 8, 2
IMAGES, EMBEDDED = torch.randn(FULL, 4, 6, 6), torch.randn(FULL, 16)


class Varying(torch.nn.Conv2d):  # type: ignore[misc]
    """A layer that gives other bits for fewer rows, and records how many it was given."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        self.given = len(rows)
        return super().forward(rows) * (1 + 2**-20 if len(rows) < FULL else 1)


class OnlyFull(torch.nn.Conv2d):  # type: ignore[misc]
    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        if len(rows) < FULL:
            raise RuntimeError("out of memory")
        return super().forward(rows)


class Denoiser(torch.nn.Module):  # type: ignore[misc]
    """A layer that depends on the batch size, and a small one, before a large one that does not depend on it."""

    def __init__(self, first: type[torch.nn.Conv2d] = Varying, width: int = 512) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.shared, self.embedding = torch.nn.Linear(1, 1), torch.nn.Linear(16, 4)
        self.first, self.large = first(4, 4, 1), torch.nn.Conv2d(4, width, 3)

    def forward(self, images: torch.Tensor, embedded: torch.Tensor) -> torch.Tensor:
        scale = self.shared(torch.ones(1, 1))
        shifted = self.first(images) + scale * self.embedding(embedded)[:, :, None, None]
        return self.large(torch.relu(self.first(shifted)))


def layers_of(denoiser: Denoiser) -> tuple[torch.Tensor, Any]:
    return layers_to_pad(denoiser, lambda: denoiser(IMAGES, EMBEDDED), FULL, FEW)


def test_layers_that_depend_on_the_batch_size_or_are_small_are_padded() -> None:
    denoiser = Denoiser()
    whole, layers = layers_of(denoiser)
    assert set(layers) == {denoiser.embedding, denoiser.first}
    assert torch.equal(whole, denoiser(IMAGES, EMBEDDED))
    few = (IMAGES[:FEW], EMBEDDED[:FEW])
    assert not torch.equal(denoiser(*few), whole[:FEW])
    with padded(layers, FEW, FULL):
        assert torch.equal(denoiser(*few), whole[:FEW])
        assert denoiser.first.given == FULL
    denoiser(*few)
    assert denoiser.first.given == FEW


class Activated(torch.nn.Module):  # type: ignore[misc]
    """A function of 24 numbers a row, which do not fill a CPU's vectors evenly, before a large layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.function, self.whole, self.large = torch.nn.SiLU(), torch.nn.SiLU(), torch.nn.Linear(12, 4096)
        # Sums of one number and zeros have the same bits in any order, and so on every device.
        torch.nn.init.eye_(self.large.weight)
        torch.nn.init.zeros_(self.large.bias)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.whole(self.large(self.function(rows)))


def test_a_function_that_leaves_numbers_over_is_padded_though_trials_may_not_show_it() -> None:
    denoiser = Activated()
    for seed in range(100):
        rows = torch.randn(FULL, 2, 12, generator=torch.Generator().manual_seed(seed))
        _, layers = layers_to_pad(denoiser, lambda rows=rows: denoiser(rows), FULL, FEW)  # type: ignore[misc]
        assert layers is not None
        assert denoiser.function in layers
        assert denoiser.whole not in layers
        with padded(layers, FEW, FULL):
            assert torch.equal(denoiser.function(rows[:FEW]), denoiser.function(rows)[:FEW])


def test_nothing_is_gained_if_most_would_be_padded() -> None:
    assert layers_of(Denoiser(width=4))[1] is None


def test_a_layer_that_cannot_be_tried_does_not_harm_the_call() -> None:
    denoiser = Denoiser(OnlyFull)
    whole, layers = layers_of(denoiser)
    assert layers is None
    assert torch.equal(whole, denoiser(IMAGES, EMBEDDED))


def test_a_layer_that_is_not_given_its_rows_is_not_padded_in_silence() -> None:
    denoiser = Denoiser()
    with padded([denoiser.shared], FEW, FULL), pytest.raises(ValueError, match="Linear that must run with 8 rows"):
        denoiser(IMAGES[:FEW], EMBEDDED[:FEW])


def test_calls_that_fail_leave_nothing_behind() -> None:
    denoiser = Denoiser()
    wrong = torch.zeros(FULL, 3, 6, 6)
    with pytest.raises(RuntimeError):
        layers_to_pad(denoiser, lambda: denoiser(wrong, EMBEDDED), FULL, FEW)
    denoiser(IMAGES, EMBEDDED)
    # No layer was tried on fewer rows.
    assert denoiser.first.given == FULL
    with padded([denoiser.first], FEW, FULL), pytest.raises(RuntimeError):
        denoiser(wrong[:FEW], EMBEDDED[:FEW])
    denoiser(IMAGES[:FEW], EMBEDDED[:FEW])
    # No layer was padded.
    assert denoiser.first.given == FEW
