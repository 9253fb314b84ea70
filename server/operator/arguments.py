"""The kinds of argument that several commands take."""

import click

#: Far above any balance, and a sum of them is within SQLite's 64 bits.
MOST_CREDITS = 10**12


class Whole(click.ParamType[int, str]):
    """A whole number from `least` to `most`."""

    name = "whole number"

    def __init__(self, least: int, most: int) -> None:
        self.least = least
        self.most = most

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "N"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        digits = value.removeprefix("-")
        if not (digits.isascii() and digits.isdigit()) or not self.least <= int(value) <= self.most:
            self.fail(f"{value!r} is not a whole number {self.least}–{self.most}", param, ctx)
        return int(value)


class Name(click.ParamType[str, str]):
    """A client's name: any text with a letter, a digit or a sign in it."""

    name = "name"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not value.strip():
            self.fail("a name needs a letter at least", param, ctx)
        try:
            value.encode()
        except UnicodeEncodeError:
            self.fail(f"{value!r} is not UTF-8 text", param, ctx)
        return value
