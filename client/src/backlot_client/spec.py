"""What a client asks for: the body of `POST /v1/background-generator`."""

from typing import Any, Literal

import msgspec


class Lora(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An adapter from the server's models file, with the strength it is applied at (-2 to 2)."""

    name: str
    weight: float = 1.0


class BackgroundSpec(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A catalogue background. Only `scene_type` and `mood` are required; a field left at its default is not sent."""

    #: What is shown, in free words: `marble`, `window light`. 1–200 characters.
    scene_type: str
    #: How it feels, in free words: `warm`, `dramatic`. 1–200 characters.
    mood: str
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
    #: Such as `16:9`; square if None.
    aspect_ratio: str | None = None
    #: 0 to 2^53 - 1; the server draws one and reports it if None.
    seed: int | None = None
    #: Whether the result's `meta.eval` reports measured quality.
    eval_enabled: bool | None = None
    #: What becomes of an image that nobody could use: `fail` refunds, `retry` tries other seeds, `deliver` keeps it.
    on_technical_failure: Literal["fail", "retry", "deliver"] | None = None
    #: A label kept with the job; it may add words to the prompt.
    pilot_brand: str | None = None
    #: Replaces the prompt that the server makes from scene, mood and colours. 1–2,000 characters.
    prompt: str | None = None
    #: What the picture must not show. At most 2,000 characters.
    negative_prompt: str | None = None
    #: At most 4.
    loras: list[Lora] = []
    #: How the colours reach the picture: through the `prompt`, by `steer`ing the denoising, or by a `match` at the end.
    palette: Literal["prompt", "steer", "match"] | None = None
