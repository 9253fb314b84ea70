"""The time that images take."""

from server.scheduler.paces import Paces


def test_each_model_and_size_has_a_pace_of_its_own() -> None:
    paces = Paces()
    assert paces.of("small", 512, 512) == paces.last
    paces.note("small", 512, 512, 1.5)
    paces.note("small", 2048, 2048, 15.0)
    assert (paces.of("small", 512, 512), paces.of("small", 2048, 2048)) == (1.5, 15.0)
    paces.note("small", 512, 512, 2.0)
    assert paces.of("small", 512, 512) == 2.0
    assert paces.of("large", 512, 512) == paces.last == 2.0
