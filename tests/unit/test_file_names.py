"""File names that every operating system takes."""

import pytest

from server.file_names import MOST_BYTES, file_name, numbered


@pytest.mark.parametrize(
    ("display_name", "expected"),
    [
        ("Warm marble in navy", "Warm marble in navy.png"),
        ('a/b\\c:d*e?f"g<h>i|j', "a-b-c-d-e-f-g-h-i-j.png"),
        ("../../etc/passwd", "etc-passwd.png"),
        ("--force", "force.png"),
        ("=1+1", "1+1.png"),
        ("@-+", "image.png"),
        ("  two   spaces\nand a line ", "two spaces and a line.png"),
        ("ends with a dot. ", "ends with a dot.png"),
        ("con", "_con.png"),
        ("LPT1.old", "_LPT1.old.png"),
        ("console", "console.png"),
        ("", "image.png"),
        ("...", "image.png"),
        ("\u202egnp.exe", "gnp.exe.png"),
        ("Café", "Café.png"),
        ("Cafe\u0301", "Café.png"),
        ("背景" * 100, "背景" * 30 + ".png"),
    ],
)
def test_a_name_is_made_safe(display_name: str, expected: str) -> None:
    assert file_name(display_name) == expected
    assert len(expected.encode()) <= MOST_BYTES + 4


def test_names_that_differ_only_in_case_are_told_apart() -> None:
    names = ["Marble", "marble", "Marble (2)", "Wood", "MARBLE"]
    assert numbered(names) == [
        "Marble.png",
        "marble (2).png",
        "Marble (2) (2).png",
        "Wood.png",
        "MARBLE (3).png",
    ]
