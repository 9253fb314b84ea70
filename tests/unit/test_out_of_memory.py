"""The remedy for memory that runs out: every case."""

import pytest

from pipelines.worker.out_of_memory import Remedy, remedy


@pytest.mark.parametrize(
    ("idle_models", "batch_size", "reproducible", "chosen"),
    [
        (2, 8, False, Remedy.EVICT),
        (1, 8, True, Remedy.EVICT),
        (1, 1, False, Remedy.EVICT),
        (1, 1, True, Remedy.EVICT),
        (0, 8, False, Remedy.HALVE),
        (0, 2, False, Remedy.HALVE),
        (0, 1, False, Remedy.FAIL),
        (0, 8, True, Remedy.FAIL),
        (0, 1, True, Remedy.FAIL),
    ],
)
def test_a_remedy_for_every_case(idle_models: int, batch_size: int, reproducible: bool, chosen: Remedy) -> None:
    assert remedy(idle_models=idle_models, batch_size=batch_size, reproducible=reproducible) is chosen
