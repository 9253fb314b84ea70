"""The query parameter `metadata`, by which clients find what they tagged."""

from collections.abc import Sequence
from typing import Annotated

from litestar.params import QueryParameter

from server.errors import Invalid
from server.validation import Problem

#: Fields of the metadata that one search may name.
MOST_PAIRS = 16

Metadata = Annotated[
    list[str] | None,
    QueryParameter(
        max_items=MOST_PAIRS,
        description="KEY=VALUE: the metadata has this field with this text, number or truth value;"
        f" may be given up to {MOST_PAIRS} times, and all of them must hold",
    ),
]


def metadata_pairs(written: Sequence[str] | None) -> list[tuple[str, str]]:
    """Return the keys and values that a query names. Raises Invalid."""
    pairs = written or ()
    if odd := [pair for pair in pairs if "=" not in pair]:
        message = f"{odd[0]!r} is not KEY=VALUE, such as shot=s010"
        raise Invalid([Problem(("query", "metadata"), "value_error", message, odd[0])])
    return [(key, value) for key, _, value in (pair.partition("=") for pair in pairs)]
