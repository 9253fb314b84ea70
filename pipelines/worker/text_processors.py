"""Processors of texts and pictures, of which only the part for texts is loaded, since a background is made of words.

transformers would load the parts for pictures and films too. They need torchvision, each build of which fits only one build
of torch. Texts go through transformers' own code here, so the tokens are the same.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import transformers
from transformers import ProcessorMixin

from pipelines.model_index import ModelIndex


class _TextProcessor(ProcessorMixin):
    """A processor with nothing but a tokenizer. Its subclasses treat texts like transformers' classes of the same names."""

    def __init__(self, tokenizer: Any = None, chat_template: Any = None) -> None:
        super().__init__(tokenizer, chat_template=chat_template)


class PixtralProcessor(_TextProcessor):
    # If a processor's class has this name, transformers reads its tokenizer in another way.
    image_token = "[IMG]"  # noqa: S105  it is no secret
    text_kwargs = {"return_tensors": "pt"}  # noqa: RUF012  transformers' own


class Qwen2VLProcessor(_TextProcessor):
    image_token, video_token = "<|image_pad|>", "<|video_pad|>"
    return_mm_token_type_ids = True


class Qwen2_5_VLProcessor(Qwen2VLProcessor):  # noqa: N801  model_index.json names it so
    pass


class Qwen3VLProcessor(Qwen2VLProcessor):
    text_kwargs = {"return_token_type_ids": False}  # noqa: RUF012  transformers' own


#: The classes of processors, by their names in model_index.json.
KINDS: dict[str, type[_TextProcessor]] = {
    kind.__name__: kind for kind in (PixtralProcessor, Qwen2VLProcessor, Qwen2_5_VLProcessor, Qwen3VLProcessor)
}


def load_text_processors(folder: Path, index: ModelIndex) -> dict[str, ProcessorMixin]:
    """Return the components of a folder that are of one of KINDS, by name. Raises OSError or ValueError."""
    return {
        name: KINDS[kind].from_pretrained(folder / name)
        for name, (_, kind) in index.components.items()
        if kind in KINDS and (folder / name).is_dir()
    }


def as_diffusers_takes(processors: Mapping[str, ProcessorMixin]) -> dict[str, ProcessorMixin | None]:
    """Return the processors with which to make a pipeline: None in place of one whose class needs torchvision.

    diffusers would fail to compare such a processor with that class. Register it in the finished pipeline.
    """
    return {
        name: processor if issubclass(getattr(transformers, type(processor).__name__), ProcessorMixin) else None
        for name, processor in processors.items()
    }
