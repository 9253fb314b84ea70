"""Requests of a key in a minute."""

from server.api.rate_limit import Windows


def test_each_key_has_its_own_minute() -> None:
    now = 1000.0
    windows = Windows(2, lambda: now)
    assert [windows.take(1) for _ in range(3)] == [(True, 1, 60), (True, 0, 60), (False, 0, 60)]
    assert windows.take(2) == (True, 1, 60)
    now += 45
    assert windows.take(1) == (False, 0, 15)
    now += 15
    assert windows.take(1) == (True, 1, 60)
