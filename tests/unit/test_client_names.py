"""Names of new clients: each must fit into an address."""

import pytest

from server.client_names import name_problem


@pytest.mark.parametrize("name", ["studio", "Studio 2 (night)", "背景", "50 %", "a.b", "...", "?#&", "x" * 200])
def test_a_good_name(name: str) -> None:
    assert name_problem(name) is None


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("", "needs at least one character"),
        (" \t", "needs at least one character"),
        (" studio", "has spaces around it"),
        ("studio\n", "has spaces around it"),
        ("lighting/night", "write 'lighting-night'"),
        ("sk_live_studio", "begins like a key"),
        (".", "no name in an address"),
        ("..", "no name in an address"),
        ("two\nlines", "cannot be shown"),
        ("\ud800", "cannot be shown"),
        ("x" * 201, "has 201 characters; it may have 200"),
    ],
)
def test_a_name_that_no_address_can_carry(name: str, told: str) -> None:
    assert told in str(name_problem(name))
