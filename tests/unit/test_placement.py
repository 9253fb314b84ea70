"""Placement: when one more GPU loads a model."""

import pytest

from server.scheduler.placement import WORTH, Served, is_worth_a_load, left_to_others


@pytest.mark.parametrize(
    ("gpus", "backlog_s", "load_s", "is_empty", "worth"),
    [
        # No GPU has the model, so one must load it.
        (0, None, None, False, True),
        (0, 0.0, 10.0, False, True),
        # One GPU has the model: the backlog must be worth the load.
        (1, 10.0 * WORTH - 0.1, 10.0, True, False),
        (1, 10.0 * WORTH, 10.0, False, True),
        (1, 1.0, 0.0, False, True),
        # The more GPUs share the backlog, the less one more is worth.
        (3, 3 * 10.0 * WORTH - 0.1, 10.0, False, False),
        (3, 3 * 10.0 * WORTH, 10.0, False, True),
        # The model is being loaded for the first time, or no step was measured yet.
        (1, None, 10.0, False, False),
        (1, 1000.0, None, False, False),
        (1, None, 10.0, True, True),
        (1, 1.0, None, True, True),
    ],
)
def test_a_backlog_is_worth_a_load_if_it_takes_longer(
    gpus: int, backlog_s: float | None, load_s: float | None, is_empty: bool, worth: bool
) -> None:
    assert is_worth_a_load(Served(gpus, backlog_s, load_s), is_empty=is_empty) is worth


def test_what_is_not_worth_a_load_is_left_to_others() -> None:
    models = {"nowhere": Served(0, None, None), "idle": Served(1, 1.0, 10.0), "busy": Served(1, 100.0, 10.0)}
    assert left_to_others(models, is_empty=False) == {"idle"}
