"""The colours of one family: a search for a colour finds them."""

import pytest

from pipelines.colors import is_alike, parse_color

BLUE = "#2456c4"


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        (BLUE, "navy", True),
        (BLUE, "skyblue", True),
        (BLUE, "#1f3a5f", True),
        (BLUE, "teal", False),
        (BLUE, "purple", False),
        (BLUE, "grey", False),
        ("red", "#d66", True),
        ("red", "crimson", True),
        ("red", "orange", False),
        ("#ff0010", "#ff1000", True),  # the two ends of the circle of hues
        ("white", "whitesmoke", True),
        ("white", "black", False),
        ("grey", "#8a8a8a", True),
        ("black", "#050510", True),  # so dark that its hue is not seen
        ("beige", "white", False),
    ],
)
def test_colors_of_one_family(one: str, other: str, alike: bool) -> None:
    assert is_alike(parse_color(one), parse_color(other)) is alike
    assert is_alike(parse_color(other), parse_color(one)) is alike
