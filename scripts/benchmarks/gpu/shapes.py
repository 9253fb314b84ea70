"""The models that are measured, and how each is called."""

from typing import Any

import msgspec


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """One model. `weights.py` makes it."""

    name: str
    title: str
    steps: int
    guidance: float
    #: Further fields of its card.
    card: dict[str, Any] = {}
    #: Its denoiser has convolutions, which are faster with channels last.
    convolves: bool = False


SHAPES = {
    shape.name: shape
    for shape in (
        Shape(name="sdxl", title="SDXL", steps=30, guidance=5.0, convolves=True),
        Shape(name="flux1", title="FLUX.1 [dev]", steps=28, guidance=3.5),
        Shape(name="z-image", title="Z-Image-Turbo", steps=8, guidance=0.0),
        Shape(
            name="qwen-image",
            title="Qwen-Image",
            steps=20,
            guidance=4.0,
            card={"guidance_argument": "true_cfg_scale", "negative_prompt": " "},
        ),
    )
}
