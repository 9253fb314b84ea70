"""Specs: the bodies of `POST /v1/background-generator` and `POST /v1/image-generation`."""

from typing import Any, ClassVar, Literal

import msgspec


class Lora(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A LoRA of the server's models file, with the weight at which it acts (-2 to 2)."""

    name: str
    weight: float = 1.0


class GenerationSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The fields of every spec. A field left at its default is not sent."""

    #: The workflow's path of the API.
    path: ClassVar[str]

    #: At most 8, each a CSS colour name, `#rgb` or `#rrggbb`.
    dominant_colors: list[str] = []
    #: At most 200 characters; the server coins a name if it is empty.
    display_name: str = ""
    #: Any JSON object up to 16 KiB; the server keeps and returns it with the picture.
    metadata: dict[str, Any] = {}
    #: A name that `models()` lists; the server's default if None.
    image_model: str | None = None
    #: A tier such as `1K`, which is about 1024 × 1024 pixels; the model's default if None.
    resolution: str | None = None
    #: A ratio such as `16:9`; square if None.
    aspect_ratio: str | None = None
    #: 0 to 2^53 - 1; the server draws one and reports it if None.
    seed: int | None = None
    #: Whether the result's `meta.eval` reports measured quality.
    eval_enabled: bool | None = None
    #: The handling of an image that nobody could use: `fail` refunds, `retry` tries other seeds, `deliver` keeps it.
    on_technical_failure: Literal["fail", "retry", "deliver"] | None = None
    #: A brand, kept with the job; it may add words to the prompt, and LoRAs.
    pilot_brand: str | None = None
    #: Things that the picture must not show. At most 2,000 characters.
    negative_prompt: str | None = None
    #: At most 4.
    loras: list[Lora] = []
    #: How the colours reach the picture: `prompt`, by words of the prompt alone; `steer`, it is also guided towards them
    #: while it is made; `match`, the finished picture's colours are also moved onto them.
    palette: Literal["prompt", "steer", "match"] | None = None


class BackgroundSpec(GenerationSpec, frozen=True):
    """A catalogue background. Only `scene_type` and `mood` are required."""

    path = "/v1/background-generator"

    #: The scene, in free words: `marble`, `window light`. 1–200 characters.
    scene_type: str
    #: The mood, in free words: `warm`, `dramatic`. 1–200 characters.
    mood: str
    #: Replaces the prompt that the server makes from scene, mood and colours. 1–2,000 characters.
    prompt: str | None = None


class ImageSpec(GenerationSpec, frozen=True):
    """One to eight pictures of a prompt, in one job that succeeds or fails as a whole. Each of them is charged."""

    path = "/v1/image-generation"

    #: 1–4,000 characters.
    prompt: str
    #: How many pictures. Picture *i*, from 0, has the seed plus *i*.
    n: int = 1
