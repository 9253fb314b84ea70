"""The times at which an image on its way is shown."""

import pytest

from pipelines.denoising.preview_times import LEAST_S, SHARE, PreviewSetting, PreviewTimes


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def shown(setting: PreviewSetting, steps: int, step_s: float, images: int = 1, preview_s: float = 0.0) -> list[int]:
    """Return the steps after which an image is shown, among others that run at its pace."""
    clock = Clock()
    times = PreviewTimes(setting, clock)
    result = []
    for step in range(1, steps + 1):
        clock.now += step_s
        for image in range(images):
            if times.due(str(image), step, steps, images, preview_s):
                times.show(str(image))
                if image == 0:
                    result.append(step)
    return result


@pytest.mark.parametrize(
    ("setting", "steps", "step_s", "expected"),
    [
        ("off", 20, 9.0, []),
        # The last step is the picture itself.
        (1, 4, 0.01, [1, 2, 3]),
        (3, 10, 0.01, [3, 6, 9]),
        (30, 10, 9.0, []),
        # There is no preview after the first step, and then at most two a second.
        ("auto", 5, 9.0, [2, 3, 4]),
        ("auto", 16, 0.125, [5, 9, 13]),
        ("auto", 100, 0.001, []),
    ],
)
def test_when_an_image_is_shown(setting: PreviewSetting, steps: int, step_s: float, expected: list[int]) -> None:
    assert shown(setting, steps, step_s) == expected


@pytest.mark.parametrize("images", [1, 4, 16])
@pytest.mark.parametrize("preview_s", [0.001, 0.02, 0.5])
def test_previews_take_no_more_than_their_share(images: int, preview_s: float) -> None:
    steps, step_s = 10_000, 0.05
    previews = len(shown("auto", steps, step_s, images, preview_s))
    assert previews * images * preview_s <= SHARE * steps * step_s
    assert previews <= steps * step_s / LEAST_S


def test_an_image_that_comes_again_begins_anew() -> None:
    clock = Clock()
    times = PreviewTimes("auto", clock)
    assert not times.due("a", 1, 9, 1, 0.0)
    times.forget("a")
    clock.now = 5.0
    assert not times.due("a", 1, 9, 1, 0.0)
