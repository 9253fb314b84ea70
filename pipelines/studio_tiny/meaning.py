"""Finds the word of a closed vocabulary that a free text means.

Meaning goes before spelling: a text means a word if it contains one of the word's synonyms, in any inflection. Only if it
contains none, one slip in a longer word is forgiven. Any other text is unknown, and is not guessed.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence

import msgspec
import snowballstemmer

#: The fewest letters of a word in which a slip is forgiven: shorter words are a slip away from too many others.
SHORTEST_MISSPELT = 5
#: The fewest letters of a word in which a replaced letter is a slip: "store" is not "stone".
SHORTEST_REPLACED = 7
#: Common words that are one slip away from a synonym, but mean something else.
NOT_MISSPELT = frozenset({
    "aches", "archers", "bards", "beading", "bending", "bidding", "binds", "bleach", "boars", "breach", "brunches",
    "budding", "caret", "certain", "checker", "chopper", "class", "clement", "clods", "coats", "collate", "college",
    "condole", "contract", "cropper", "curtail", "curtails", "dedicate", "dessert", "dunces", "fores", "garbage",
    "greener", "growing", "haven", "heave", "incense", "inciting", "inferior", "lawyers", "leavens", "ledger",
    "linden", "mental", "neural", "packing", "pamper", "pants", "paring", "parity", "parting", "partly", "paste",
    "pauper", "perking", "placid", "planet", "planets", "plans", "planter", "platter", "pliant", "pothole", "quart",
    "quite", "refiled", "reined", "selves", "simplex", "sliver", "sober", "sower", "stain", "stars", "stirs",
    "stolid", "stoner", "strand", "strides", "strikes", "stripped", "strips", "summary", "tablet", "tailed",
    "tigers", "tilde", "tilted", "timbre", "timer", "timers", "tired", "tires", "titled", "titles", "toiled",
    "topical", "vantage", "waiter", "waives", "waster", "wavers", "weaver", "widow",
})  # fmt: skip
#: The word after one of these is not wanted, even if a word of _WEIGHTS comes between.
_NEGATIONS = frozenset({"no", "not", "without", "never", "non"})
_WEIGHTS = frozenset({"a", "an", "any", "the", "too", "very", "so", "overly"})


class _Synonym(msgspec.Struct, frozen=True):
    word: str
    parts: tuple[str, ...]
    stems: tuple[str, ...]
    #: Whether it counts only if the text means no other word.
    vague: bool


class ClosedVocabulary:
    """The words that a model knows, each with its synonyms, and the default for a text that means none of them."""

    def __init__(self, known: Mapping[str, Sequence[str]], default: str) -> None:
        """Take the synonyms of each word, by the word.

        A synonym of the default that is a single word is vague: a "studio" is a sweep, but a "marble studio" is marble.
        """
        self.words = tuple(known)
        self.default = default
        self._synonyms = [
            _Synonym(word, parts, _stems(parts), word == default and len(parts) == 1 and parts != (word,))
            for word, synonyms in known.items()
            for parts in (_words(synonym) for synonym in synonyms)
        ]

    def meant(self, text: str) -> str | None:
        """Return the word that the text means; None if it means none of them.

        The synonym with the most words counts. Of equally long ones an exact form goes before an inflected one, and then the
        first in the text.
        """
        wanted = _without_negated(_words(text))
        found = list(self._by_meaning(wanted))
        if found:
            return max(found)[-1]
        return next(self._by_spelling(wanted), None)

    def _by_meaning(self, wanted: tuple[str, ...]) -> Iterator[tuple[int, bool, int, str]]:
        """Yield each synonym in the text: its length in words (0 if vague), whether its form is exact, −place, its word."""
        stems = _stems(wanted)
        for synonym in self._synonyms:
            length = len(synonym.parts)
            for place in range(len(wanted) - length + 1):
                if stems[place : place + length] == synonym.stems:
                    exact = wanted[place : place + length] == synonym.parts
                    yield 0 if synonym.vague else length, exact, -place, synonym.word

    def _by_spelling(self, wanted: tuple[str, ...]) -> Iterator[str]:
        for part in wanted:
            if len(part) >= SHORTEST_MISSPELT and part not in NOT_MISSPELT:
                for synonym in self._synonyms:
                    if len(synonym.parts) == 1 and is_slip(part, synonym.parts[0]):
                        yield synonym.word


def is_slip(written: str, meant: str) -> bool:
    """Return whether one letter is left out, added, replaced or swapped with the next one. The first letter must be right."""
    if written[:1] != meant[:1] or min(len(written), len(meant)) < SHORTEST_MISSPELT:
        return False
    same = next(
        (i for i, (a, b) in enumerate(zip(written, meant, strict=False)) if a != b), min(len(written), len(meant))
    )
    left, wanted = written[same:], meant[same:]
    if len(written) == len(meant):
        replaced = left[1:] == wanted[1:] and len(written) >= SHORTEST_REPLACED
        return left != wanted and (replaced or (left[:2] == wanted[:2][::-1] and left[2:] == wanted[2:]))
    return left[1:] == wanted or left == wanted[1:]


def _words(text: str) -> tuple[str, ...]:
    """Return the words in lower case, without accents."""
    letters = unicodedata.normalize("NFKD", text.lower())
    return tuple(re.findall(r"[a-z]+", "".join(letter for letter in letters if not unicodedata.combining(letter))))


def _stems(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(snowballstemmer.stemmer("english").stemWords(list(words)))


def _without_negated(words: tuple[str, ...]) -> tuple[str, ...]:
    kept, negated = [], False
    for word in words:
        if word in _NEGATIONS:
            negated = True
        elif not negated:
            kept.append(word)
        elif word not in _WEIGHTS:
            # This gap keeps the word's neighbours from being read as one phrase.
            kept.append("")
            negated = False
    return tuple(kept)
