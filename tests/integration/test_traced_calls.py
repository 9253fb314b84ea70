"""Traced denoiser calls give the bits of the calls themselves; a call that cannot be traced is run as it is."""

import gc
import weakref
from typing import Any

import pytest
import torch

from pipelines.denoising.traced_calls import TracedCall, TracedCalls

PLAIN_CALLS, TRIALS, MOST = 5, 4, 2


class Denoiser(torch.nn.Module):  # type: ignore[misc]
    """A denoiser that takes and gives nested tensors, as diffusers' do, and counts how often its Python runs."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = torch.nn.Conv2d(4, 8, 3, padding=1), torch.nn.Conv2d(8, 4, 3, padding=1)
        self.runs = 0
        self.fails = False

    def forward(
        self, sample: torch.Tensor, *, scale: float, added: dict[str, list[torch.Tensor]], return_dict: bool
    ) -> dict[str, Any]:
        self.runs += 1
        if self.fails:
            raise RuntimeError("out of memory")
        shift = sum(tensor.mean(dim=1) for tensor in added["embeds"]) - added["also"][0].mean(dim=1)
        hidden = torch.nn.functional.silu(self.first(sample)) * scale + shift[:, None, None, None]
        return {"sample": self.second(hidden), "parts": (hidden, [hidden.sum(dim=1)])}


SAMPLE = torch.randn(2, 4, 8, 8)


def keywords(seed: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    embeds = [torch.randn(2, length, generator=generator) for length in (3, 5)]
    return {
        "scale": 0.5,
        "added": {"embeds": embeds, "also": [torch.randn(2, 3, generator=generator)]},
        "return_dict": True,
    }


def trace_of(denoiser: Denoiser) -> TracedCall:
    return TracedCall(denoiser, lambda given, named: denoiser(*given, **named), (SAMPLE,), keywords(1))


def equal(one: Any, other: Any) -> bool:
    return (
        list(one) == list(other)
        and torch.equal(one["sample"], other["sample"])
        and torch.equal(one["parts"][0], other["parts"][0])
        and torch.equal(one["parts"][1][0], other["parts"][1][0])
    )


@pytest.fixture(autouse=True)
def inference() -> Any:
    with torch.inference_mode():
        yield


def test_a_trace_gives_the_bits_of_the_call_without_its_python() -> None:
    denoiser = Denoiser()
    made = trace_of(denoiser)
    sample = torch.randn(2, 4, 8, 8)
    expected, runs = denoiser(sample, **keywords(2)), denoiser.runs
    assert equal(made((sample,), keywords(2)), expected)
    # The order of names does not matter.
    turned = {name: keywords(2)[name] for name in reversed(keywords(2))}
    turned["added"] = {name: turned["added"][name] for name in reversed(turned["added"])}
    assert equal(made((sample,), turned), expected)
    assert denoiser.runs == runs


def test_a_trace_follows_its_weights_and_frees_them() -> None:
    denoiser = Denoiser()
    made = trace_of(denoiser)
    denoiser.first.weight.mul_(2)
    assert equal(made((SAMPLE,), keywords(1)), denoiser(SAMPLE, **keywords(1)))
    weights = weakref.ref(denoiser.first.weight)
    del denoiser, made
    gc.collect()
    assert weights() is None


class Calls:
    """Calls of one denoiser, each with other numbers."""

    def __init__(self, denoiser: torch.nn.Module) -> None:
        self.denoiser = denoiser
        self.traced = TracedCalls(PLAIN_CALLS, TRIALS, MOST)
        self._made = 0

    def make(self, calls: int, kind: str = "kind") -> None:
        for _ in range(calls):
            self._made += 1
            result = self.traced.call(kind, self.denoiser, self.call, (SAMPLE,), keywords(self._made))
            assert equal(result, self.call((SAMPLE,), keywords(self._made)))

    def call(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        return self.denoiser(*arguments, **named)


def test_many_calls_of_a_kind_are_traced_and_few_are_not() -> None:
    calls = Calls(Denoiser())
    calls.make(PLAIN_CALLS)
    calls.make(PLAIN_CALLS, "another")
    assert len(calls.traced) == 0
    calls.make(TRIALS)
    assert len(calls.traced) == 1
    before = calls.denoiser.runs
    calls.make(10)
    # The denoiser runs once for each comparison in `make`, and not in the call itself.
    assert calls.denoiser.runs == before + 10


def test_the_least_used_trace_is_dropped() -> None:
    calls = Calls(Denoiser())
    for kind in ("first", "second", "first", "third"):
        calls.make(PLAIN_CALLS + TRIALS + 1, kind)
    assert len(calls.traced) == 2
    before = calls.denoiser.runs
    calls.make(1, "first")
    assert calls.denoiser.runs == before + 1
    # The dropped trace begins anew.
    calls.make(1, "second")
    assert calls.denoiser.runs == before + 3


class Fickle(Denoiser):
    """A denoiser that does another thing now and then, as no traceable one does."""

    def forward(self, sample: torch.Tensor, **named: Any) -> dict[str, Any]:
        result = super().forward(sample, **named)
        if named["added"]["also"][0].sum() > 0:
            result["sample"] = -result["sample"]
        return result


def test_nothing_is_traced_if_other_bits_come_of_it(caplog: pytest.LogCaptureFixture) -> None:
    calls = Calls(Fickle())
    calls.make(PLAIN_CALLS + TRIALS + 10)
    assert len(calls.traced) == 0
    assert "A call of Fickle cannot be traced" in caplog.text
    assert "the trace gave other bits than the call" in caplog.text


class Untraceable(Denoiser):
    """A denoiser that refuses to be traced."""

    def forward(self, sample: torch.Tensor, **named: Any) -> dict[str, Any]:
        if torch.jit.is_tracing():
            raise RuntimeError("this denoiser does something that cannot be traced")
        return super().forward(sample, **named)


def test_a_call_does_not_fail_if_its_tracing_does(caplog: pytest.LogCaptureFixture) -> None:
    calls = Calls(Untraceable())
    calls.make(PLAIN_CALLS + TRIALS + 2)
    assert len(calls.traced) == 0
    assert caplog.text.count("A call of Untraceable cannot be traced") == 1


def test_a_call_is_made_if_its_trace_fails(caplog: pytest.LogCaptureFixture) -> None:
    calls = Calls(Denoiser())
    calls.make(PLAIN_CALLS + TRIALS)
    # These inputs have another size under the same name.
    wider = torch.randn(2, 4, 16, 16)
    other = {**keywords(1), "added": {"embeds": [torch.randn(3, 1)], "also": [torch.randn(2, 3)]}}
    with pytest.raises(RuntimeError, match="must match"):
        calls.traced.call("kind", calls.denoiser, calls.call, (wider,), other)
    assert "A traced call of Denoiser failed" in caplog.text
    assert len(calls.traced) == 0
    calls.make(3)


def test_what_a_call_raises_is_raised_and_is_no_trial() -> None:
    calls = Calls(Denoiser())
    for before in (0, PLAIN_CALLS, 1, TRIALS - 2):
        calls.make(before)
        calls.denoiser.fails = True
        for _ in range(TRIALS + 1):
            with pytest.raises(RuntimeError, match="out of memory"):
                calls.make(1)
        calls.denoiser.fails = False
    runs = calls.denoiser.runs
    calls.make(1)
    # The denoiser runs for the last trial, and for the comparison in `make`.
    assert calls.denoiser.runs == runs + 2
    calls.make(1)
    assert calls.denoiser.runs == runs + 3
