"""The calls that are repeated, and when."""

import pytest
from backlot_client import Retries

RETRIES = Retries(total_s=60, first_s=0.5, longest_s=8)

CASES = [
    ("the first pause", (1, 0.0, None, 0.0), 0.5),
    ("chance shortens a pause to half at most", (1, 0.0, None, 1.0), 0.25),
    ("pauses double", (3, 2.0, None, 0.0), 2.0),
    ("up to the longest", (9, 20.0, None, 0.0), 8.0),
    ("however many tries", (10_000, 20.0, None, 0.0), 8.0),
    ("a pause that ends in time", (5, 52.0, None, 0.0), 8.0),
    ("a pause that does not", (5, 52.1, None, 0.0), None),
    ("as the server asks", (1, 0.0, 7.0, 0.0), 7.0),
    ("no sooner, for any chance", (1, 0.0, 7.0, 0.75), 7.75),
    ("at once, if the server says so", (4, 0.0, 0.0, 0.0), 0.0),
    ("not if the server asks for more than there is", (1, 0.0, 61.0, 0.0), None),
]


@pytest.mark.parametrize(("arguments", "seconds"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_pause(arguments: tuple[int, float, float | None, float], seconds: float | None) -> None:
    assert RETRIES.pause(*arguments) == seconds


def test_no_time_means_one_try() -> None:
    assert Retries(total_s=0).pause(1, 0.0, None, 0.0) is None
