"""Text from outside, made safe for a terminal."""

import pytest

from pipelines.printable import printable, printable_lines


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("Zoë's desk, 工房 🎨", "Zoë's desk, 工房 🎨"),
        ("red\x1b[31m", r"red\x1b[31m"),
        ("c1 \x9b31m", r"c1 \x9b31m"),
        ("two\nlines\ttabbed\r", r"two\nlines\ttabbed\r"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("no\udcffUTF-8", r"no\udcffUTF-8"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_only_what_a_terminal_would_obey_is_escaped(text: str, safe: str) -> None:
    assert printable(text) == safe


def test_lines_stay_lines() -> None:
    assert printable_lines("one\x07\ntwo") == "one\\x07\ntwo"
