"""The components of a pipeline that a checkpoint in one file holds, as its keys tell; without torch."""

import re
from collections.abc import Collection
from pathlib import Path

from pipelines.diffusers_classes import DENOISERS
from pipelines.weight_files import read_tensors

#: The beginnings of keys that are not a denoiser's, and the components that they may belong to, of which the first one that a
#: pipeline has counts. Nothing reads keys of no component.
_STARTS = (
    (r"first_stage_model\.|vae\.", ("vae",)),
    (r"conditioner\.embedders\.1\.|text_encoders\.clip_g\.", ("text_encoder_2",)),
    (r"text_encoders\.t5xxl\.", ("text_encoder_3", "text_encoder_2")),
    (r"cond_stage_model\.|conditioner\.|text_encoders\.clip_l\.", ("text_encoder",)),
    (r"text_encoders\.|model_ema\.", ()),
)


def component_of(key: str, components: Collection[str]) -> str | None:
    """Return the one of a pipeline's components that a tensor of this key belongs to; None if it is none of them."""
    names = next((names for start, names in _STARTS if re.match(start, key)), DENOISERS)
    return next((name for name in names if name in components), None)


def held_components(file: Path, components: Collection[str]) -> frozenset[str]:
    """Return those of a pipeline's components that are read from a checkpoint in one file. Its denoiser always is.

    Nothing else is known of a pickle, which has no header. Raises BadWeights and OSError.
    """
    named = {component_of(key, components) for key in read_tensors(file)}
    return frozenset(name for name in components if name in named or name in DENOISERS)
