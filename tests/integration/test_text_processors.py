"""Processors of texts and pictures that are loaded without readers of pictures."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from pipelines.checks.files import TEXT_PROCESSORS
from pipelines.worker.text_processors import KINDS
from tests.support.tiny.text import processor

#: The processors that transformers has without torchvision, and that can be made without readers of pictures and films.
QWENS = sorted(name for name in KINDS if name.startswith("Qwen"))
TEXTS = ["marble warm navy", "wood", ""]
CHAT = [{"role": "user", "content": [{"type": "text", "text": "wood red navy"}]}]


def test_the_check_of_cards_knows_them() -> None:
    assert set(KINDS) == TEXT_PROCESSORS


@pytest.fixture(params=QWENS)
def both(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Any, Any]:
    """Return the processor that the server loads, and transformers' own of the same files."""
    name = request.param
    processor(name).save_pretrained(tmp_path)
    own: Any = getattr(transformers, name)

    class WithoutReaders(own):
        def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> None:
            assert argument is None or argument_name == "tokenizer"

    loaded = KINDS[name].from_pretrained(tmp_path)
    settings, _ = own.get_processor_dict(tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    return loaded, WithoutReaders.from_args_and_dict([None, tokenizer, None], settings)


@pytest.mark.parametrize(
    "options",
    [
        {"padding": True, "padding_side": "left"},
        {"padding": "longest", "images": None, "videos": None},
        {"padding": True, "truncation": True, "max_length": 3},
    ],
    ids=["Qwen-Image 2.1", "Kandinsky 5", "Kandinsky 5, cut"],
)
def test_texts_become_the_tokens_that_transformers_makes_of_them(
    both: tuple[Any, Any], options: dict[str, Any]
) -> None:
    loaded, own = (one(text=TEXTS, return_tensors="pt", **options) for one in both)
    assert set(loaded) == set(own)
    assert all(torch.equal(loaded[name], own[name]) for name in own)


def test_a_chat_becomes_the_same_tokens_too(both: tuple[Any, Any]) -> None:
    loaded, own = (one.apply_chat_template(CHAT, tokenize=True, return_dict=False) for one in both)
    assert loaded == own == [[1, 5, 8, 9, 2]]
    assert both[0].decode(loaded[0]) == both[1].decode(own[0])


def test_a_text_that_stands_for_a_picture_is_refused(both: tuple[Any, Any]) -> None:
    for one in both:
        with pytest.raises(ValueError, match="in the text but no images were passed"):
            one(text=["wood <|image_pad|>"])
