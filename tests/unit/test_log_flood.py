"""A bound on the events of a flood that are kept."""

from server.api.log_flood import Sampler


def test_the_first_of_each_minute_are_kept_and_the_rest_is_told_once() -> None:
    told: list[int] = []
    now = 0.0
    sampler = Sampler(3, told.append, lambda: now)
    assert [sampler.take() for _ in range(10)] == [True] * 3 + [False] * 7
    assert told == []
    now = 61.0
    sampler.look()
    assert told == [7]
    assert sampler.take()
    now = 200.0
    sampler.look()
    assert told == [7]
