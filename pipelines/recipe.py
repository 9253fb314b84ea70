"""The recipe, which says everything that is needed to make an image's bytes again, and how to read it from a PNG."""

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta
from PIL import Image

from pipelines.colors import PaletteMode
from pipelines.lora import AppliedLora
from pipelines.upscale import SecondPass

#: The key of the recipe's text chunk in a PNG.
CHUNK = "backlot"


class NoRecipe(Exception):
    """Backlot did not make the PNG, or someone edited it since; the message says which."""


class Recipe(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything that is needed to make the same bytes again. A text chunk of the PNG holds it.

    A field that a later version adds has a default, and is left out if it has its default, so older files stay the same.
    """

    model: str
    revision: str
    pipeline: str
    prompt: str
    negative_prompt: str
    seed: Annotated[int, Meta(ge=0)]
    width: Annotated[int, Meta(ge=8, le=16384)]
    height: Annotated[int, Meta(ge=8, le=16384)]
    steps: Annotated[int, Meta(ge=1, le=1000)]
    guidance: float
    scheduler: str
    dtype: str
    #: The result of model_card.settings_digest, a digest of all other fields of the model card that change bytes.
    settings: str
    #: Files and `meta` call it batch_shape.
    batch_size: Annotated[int, Meta(ge=1, le=64)] = msgspec.field(name="batch_shape")
    device: str
    device_name: str
    versions: dict[str, str]
    #: Sorted by name.
    loras: tuple[AppliedLora, ...] = ()
    palette: PaletteMode = PaletteMode.PROMPT
    #: The colours, as #rrggbb, to which the image was steered or matched. An image with a defect was not matched.
    colors: tuple[Annotated[str, Meta(pattern="^#[0-9a-f]{6}$")], ...] = ()
    #: How the picture was enlarged to this size; `steps` are those of the first pass.
    upscale: SecondPass | None = None


def read_recipe(path: Path) -> Recipe:
    """Return the recipe of a PNG.

    Raises NoRecipe if the file has none that this version understands, or is not the picture that its recipe makes.
    """
    try:
        with Image.open(path) as image:
            image.load()
            text = getattr(image, "text", {}).get(CHUNK)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise NoRecipe(f"{path} is not a whole PNG: {error}") from error
    if text is None:
        raise NoRecipe(f"{path} has no {CHUNK!r} text chunk: it was not made by Backlot, or an editor removed it")
    try:
        recipe = msgspec.json.decode(text.encode(), type=Recipe)
    except msgspec.MsgspecError as error:
        raise NoRecipe(f"the {CHUNK!r} text chunk of {path} is not of this version: {error}") from error
    if (image.width, image.height, image.mode) != (recipe.width, recipe.height, "RGB"):
        raise NoRecipe(
            f"{path} is {image.width} × {image.height} {image.mode}, and its recipe makes"
            f" {recipe.width} × {recipe.height} RGB: it was edited since"
        )
    return recipe
