"""Text from outside (names, paths, user agents), made safe to print: a terminal obeys control characters."""


def printable(text: str) -> str:
    """Return `text` with everything but printable characters and spaces escaped, as `\\x1b` or `\\u202e`.

    Line breaks are escaped too, so that one value stays on one line.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)


def printable_lines(text: str) -> str:
    """Return `text` with every line made printable. Line breaks stay."""
    return "\n".join(printable(line) for line in text.split("\n"))


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode()
