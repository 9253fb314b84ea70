"""The meaning that a closed vocabulary finds: meaning before spelling, and *unknown* before a guess."""

import pytest

from pipelines.studio_tiny import vocabulary
from pipelines.studio_tiny.meaning import NOT_MISSPELT, is_slip


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("marble", "marble"), ("Polished Carrara", "marble"), ("an old oak table", "wood"), ("infinity cove", "sweep"),
        ("seaside at dawn", "beach"), ("pedestal", "podium"), ("silk drapes", "fabric"),
        ("morning light through blinds", "window"), ("concrète", "concrete"),
        # The words may be inflected.
        ("tables of cedar", "wood"), ("draped fabrics", "fabric"), ("MARBLED", "marble"), ("a studio-sweep", "sweep"),
        # The more words name a scene the more it weighs; of equal ones the first wins, but a vague one comes last.
        ("wooden floor in window light", "window"), ("marble counter, wooden wall", "marble"),
        ("marble studio", "marble"), ("a plain concrete backdrop", "concrete"), ("studio", "sweep"),
        ("light grey concrete", "concrete"),
        # A word after a negation does not count.
        ("no wood, marble", "marble"), ("beach without any marble", "beach"), ("not too plain", None),
        # Longer words may be misspelt.
        ("marbel", "marble"), ("wndow light", "window"), ("concrette", "concrete"), ("pedistal", "podium"),
        # Words that only look like a word of the vocabulary mean nothing.
        ("a red sports car on the moon", None), ("moon", None), ("car", None), ("store", None), ("sheep", None),
        ("planet", None), ("stars", None), ("xyzzy", None), ("砂浜", None), ("", None),
    ],
)  # fmt: skip
def test_the_scene_that_a_text_means(text: str, word: str | None) -> None:
    assert vocabulary.phrase(text, "warm", []).scene == word


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("cosy", "warm"), ("high-key", "bright"), ("high key", "bright"), ("soft light", "soft"), ("dark blue", "dark"),
        ("clean and bright", "bright"), ("dramtic", "dramatic"), ("quite", None), ("dreamy, not dark", "soft"),
        ("playful", "vivid"), ("melancholy", None), ("while", None),
    ],
)  # fmt: skip
def test_the_mood_that_a_text_means(text: str, word: str | None) -> None:
    assert vocabulary.phrase("marble", text, []).mood == word


def test_what_is_unknown_has_the_default_in_its_prompt() -> None:
    unknown = vocabulary.phrase("a red sports car on the moon", "?", [])
    assert (unknown.scene, unknown.mood) == (None, None)
    assert unknown.prompt.split()[:2] == ["sweep", "neutral"]


def test_every_synonym_means_its_word() -> None:
    for table, meant in ((vocabulary.SCENES, vocabulary.scene_meant), (vocabulary.MOODS, vocabulary.mood_meant)):
        owners: dict[str, set[str]] = {}
        for word, synonyms in table.items():
            for synonym in synonyms:
                owners.setdefault(synonym, set()).add(word)
        # A synonym that two words share means one of them.
        for synonym, words in owners.items():
            assert meant(synonym) in words, synonym
            assert synonym not in NOT_MISSPELT


@pytest.mark.parametrize(
    ("written", "meant", "slip"),
    [
        ("marbel", "marble", True), ("marle", "marble", True), ("marrble", "marble", True), ("cemant", "cement", False),
        ("concreta", "concrete", True), ("arble", "marble", False), ("wod", "wood", False), ("marble", "marble", False),
        ("mabrel", "marble", False),
    ],
)  # fmt: skip
def test_slips(written: str, meant: str, slip: bool) -> None:
    assert is_slip(written, meant) is slip
