"""The words of a folder of weights: those of the shipped model, or of the model in training."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from pipelines.colors import Rgb
from pipelines.studio_tiny import vocabulary as shipped
from pipelines.studio_tiny.training import vocabulary as in_training


class Words(msgspec.Struct, frozen=True):
    """What a model can be asked for."""

    scenes: tuple[str, ...]
    moods: tuple[str, ...]
    #: The model was trained by the renderer of this tree.
    in_training: bool

    def prompt(self, scene: str, mood: str, colors: Sequence[Rgb]) -> str:
        return (in_training if self.in_training else shipped).phrase(scene, mood, colors).prompt


SHIPPED = Words(tuple(shipped.SCENES), tuple(shipped.MOODS), False)
IN_TRAINING = Words(tuple(in_training.SCENES), tuple(in_training.MOODS), True)


def words_of(weights: Path) -> Words:
    """Return the words that the tokenizer of a pipeline's folder knows. Raises ValueError if it is no studio-tiny."""
    path = weights / "tokenizer" / "tokenizer.json"
    known = set(msgspec.json.decode(path.read_bytes())["model"]["vocab"])
    if known.issuperset(in_training.words()):
        return IN_TRAINING
    if known.issuperset(shipped.words()):
        return SHIPPED
    raise ValueError(f"{path} knows neither the words of the shipped model nor those of the model in training")
