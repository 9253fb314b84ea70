"""Recorded denoiser calls give the bits of the calls themselves, and what cannot be recorded is run as it is."""

import gc
import weakref
from typing import Any

import pytest
import torch

from pipelines.recording import record


class Denoiser(torch.nn.Module):  # type: ignore[misc]
    """Takes and gives nested tensors, as diffusers' denoisers do; counts how often its Python runs."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = torch.nn.Conv2d(4, 8, 3, padding=1), torch.nn.Conv2d(8, 4, 3, padding=1)
        self.runs = 0

    def forward(
        self, sample: torch.Tensor, *, scale: float, added: dict[str, list[torch.Tensor]], return_dict: bool
    ) -> dict[str, Any]:
        self.runs += 1
        shift = sum(tensor.mean(dim=1) for tensor in added["embeds"])
        hidden = torch.nn.functional.silu(self.first(sample)) * scale + shift[:, None, None, None]
        return {"sample": self.second(hidden), "parts": (hidden, [hidden.sum(dim=1)])}


def keywords(seed: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    embeds = [torch.randn(2, length, generator=generator) for length in (3, 5)]
    return {"scale": 0.5, "added": {"embeds": embeds}, "return_dict": True}


@torch.inference_mode()  # type: ignore[untyped-decorator]
def test_a_recording_gives_the_bits_of_the_call_without_its_python() -> None:
    denoiser = Denoiser()
    result, recording = record(denoiser, (torch.randn(2, 4, 8, 8),), keywords(1))
    assert recording is not None
    sample = torch.randn(2, 4, 8, 8)
    expected, runs = denoiser(sample, **keywords(2)), denoiser.runs
    recorded = recording((sample,), keywords(2))
    assert denoiser.runs == runs
    assert list(recorded) == list(expected) == list(result)
    assert torch.equal(recorded["sample"], expected["sample"])
    assert torch.equal(recorded["parts"][0], expected["parts"][0])
    assert torch.equal(recorded["parts"][1][0], expected["parts"][1][0])


@torch.inference_mode()  # type: ignore[untyped-decorator]
def test_a_recording_follows_its_weights_and_frees_them() -> None:
    denoiser = Denoiser()
    sample = torch.randn(2, 4, 8, 8)
    _, recording = record(denoiser, (sample,), keywords(1))
    assert recording is not None
    denoiser.first.weight.mul_(2)
    assert torch.equal(recording((sample,), keywords(1))["sample"], denoiser(sample, **keywords(1))["sample"])
    weights = weakref.ref(denoiser.first.weight)
    del denoiser, recording
    gc.collect()
    assert weights() is None


class Looking(torch.nn.Module):  # type: ignore[misc]
    """Does one thing or another, depending on numbers in its input."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def forward(self, sample: torch.Tensor) -> torch.Tensor:
        match self.how:
            case "item":
                return sample * sample.max().item()
            case "bool":
                return sample + 1 if sample.sum() > 0 else sample - 1
            case "int":
                return sample[: int(sample.abs().max()) + 1]
            case "tolist":
                return sample * sample[0].tolist()[0]
            case _:
                return sample if torch.equal(sample, sample + 0) else -sample


@pytest.mark.parametrize("how", ["item", "bool", "int", "tolist", "equal"])
@torch.inference_mode()  # type: ignore[untyped-decorator]
def test_a_call_that_looks_at_numbers_is_not_recorded(how: str) -> None:
    denoiser = Looking(how)
    sample = torch.randn(2, 4)
    result, recording = record(denoiser, (sample,), {})
    assert recording is None
    assert torch.equal(result, denoiser(sample))


class Random(torch.nn.Module):  # type: ignore[misc]
    def forward(self, sample: torch.Tensor) -> torch.Tensor:
        return sample + torch.randn_like(sample)


class Once(torch.nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.runs = 0

    def forward(self, sample: torch.Tensor) -> torch.Tensor:
        self.runs += 1
        if self.runs > 1:
            raise RuntimeError("out of memory")
        return sample + 1


@torch.inference_mode()  # type: ignore[untyped-decorator]
def test_what_comes_out_otherwise_or_fails_is_not_recorded(caplog: pytest.LogCaptureFixture) -> None:
    sample = torch.randn(2, 4)
    assert record(Random(), (sample,), {})[1] is None
    assert "Random is not recorded: other bits" in caplog.text
    result, recording = record(Once(), (sample,), {})
    assert recording is None
    assert torch.equal(result, sample + 1)
    assert "Once cannot be recorded" in caplog.text


@torch.inference_mode()  # type: ignore[untyped-decorator]
def test_what_the_call_raises_is_raised() -> None:
    with pytest.raises(TypeError):
        record(Denoiser(), (torch.randn(2, 4, 8, 8),), {})
