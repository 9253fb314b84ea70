"""The server and its GPU process are killed and frozen at random moments under load, and nothing is lost."""

import pytest

from tests.torture.__main__ import torture


@pytest.mark.slow
def test_twenty_rounds_of_torture() -> None:
    assert torture(rounds=20, seed=0, cold=False)


@pytest.mark.slow
def test_two_gpu_processes_are_killed_some_fifty_times() -> None:
    assert torture(rounds=50, seed=100, cold=False, devices="cpu,cpu")


@pytest.mark.slow
def test_two_rounds_whose_gpu_processes_start_from_nothing() -> None:
    assert torture(rounds=2, seed=20, cold=True)
