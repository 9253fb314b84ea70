"""The figures that steps give the metrics."""

from prometheus_client import REGISTRY

from pipelines import protocol
from pipelines.model_card import ModelCard
from server.scheduler.batching import SlotGroup
from server.scheduler.calls import Calls
from server.scheduler.queue import BatchKey


def group(model: str, batch_size: int) -> SlotGroup:
    card = ModelCard.from_flat(name=model, licence="made for tests", tiers=("0.5K",), steps=4, guidance=1.0)
    return SlotGroup(BatchKey(model, 512, 512, 4, 1.0), card, batch_size)


def steps(*done: tuple[str, int, float, int]) -> protocol.Steps:
    return protocol.Steps(tuple(protocol.Step(*one) for one in done), 4)


def value(name: str, model: str) -> float:
    return REGISTRY.get_sample_value(f"backlot_{name}", {"model": model}) or 0.0


def test_images_of_one_call_are_one_step_over_reports() -> None:
    calls, two = Calls(), group("calls-together", 4)
    calls.note(steps(("a", 1, 10.0, 1), ("b", 1, 10.1, 1), ("a", 2, 12.0, 2)), two)
    calls.note(steps(("b", 2, 12.1, 2), ("a", 3, 15.0, 3)), two)
    assert value("batch_images_count", "calls-together") == 2
    assert value("batch_images_sum", "calls-together") == 4
    assert value("batch_fill_ratio_sum", "calls-together") == 1.0
    assert value("step_seconds_count", "calls-together") == 1
    assert round(value("step_seconds_sum", "calls-together"), 6) == 2.0


def test_the_last_step_of_a_group_counts_for_that_group() -> None:
    calls = Calls()
    calls.note(steps(("a", 4, 10.0, 1), ("b", 4, 10.0, 1)), group("calls-earlier", 4))
    calls.note(steps(("c", 1, 11.0, 2)), group("calls-later", 1))
    assert value("batch_fill_ratio_sum", "calls-earlier") == 0.5
    assert value("batch_images_count", "calls-later") == 0


def test_a_pause_between_images_is_no_step() -> None:
    calls, one = Calls(), group("calls-apart", 1)
    calls.note(steps(("a", 4, 10.0, 1)), one)
    calls.note(steps(("b", 1, 900.0, 2), ("b", 2, 901.0, 3), ("b", 3, 902.5, 4)), one)
    assert value("batch_images_count", "calls-apart") == 3
    assert (value("step_seconds_count", "calls-apart"), value("step_seconds_sum", "calls-apart")) == (1, 1.0)


def test_a_clock_that_is_set_back_is_no_negative_time() -> None:
    calls, one = Calls(), group("calls-back", 1)
    calls.note(steps(("a", 1, 10.0, 1), ("a", 2, 5.0, 2), ("a", 3, 6.0, 3)), one)
    assert value("step_seconds_sum", "calls-back") == 0.0
