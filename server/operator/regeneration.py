"""Make an image again from the recipe in its own PNG, in a GPU process of its own, and compare the two."""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np
from PIL import Image

from pipelines import protocol
from pipelines.colors import parse_color
from pipelines.lora import Lora
from pipelines.model_card import ModelCard
from pipelines.origin import read_origin, with_origin
from pipelines.recipe import Recipe, read_recipe
from server.models_file import load_models
from server.operator.errors import CommandError
from server.operator.gpu_process import ask
from server.settings import Settings


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    #: Whether the files are equal byte by byte.
    identical: bool
    #: 8-bit channel values that differ, of how many, and by how much at most.
    values_different: int
    values: int
    largest_difference: int
    #: The fields that differ between the file's recipe and this run's, each with its value then and now.
    changes: dict[str, tuple[str, str]]


def regenerate(settings: Settings, image: Path) -> Comparison:
    """Run the image's recipe in a GPU process of its own, and compare the two images.

    Raises CommandError, NoRecipe and ModelsFileError.
    """
    if not image.is_file():
        raise CommandError(f"there is no file {image}; name a PNG that Backlot made")
    recipe = read_recipe(image)
    models = load_models(settings.models)
    card = models.models.get(recipe.model)
    if card is None:
        raise CommandError(
            f"{image} was made with {recipe.model!r}, which {settings.models} does not list; add its card"
        )
    if missing := [lora.name for lora in recipe.loras if lora.name not in models.loras]:
        raise CommandError(
            f"{image} was made with the LoRAs {', '.join(missing)}, which {settings.models} does not list; add them"
        )
    loras = tuple(Lora(lora.name, models.loras[lora.name].file, lora.weight) for lora in recipe.loras)
    with TemporaryDirectory(prefix="backlot-replay-") as folder:
        again = Path(folder) / "again.png"
        made = asyncio.run(_make(settings, card, loras, recipe, again))
        return _compare(image, recipe, again, made)


async def _make(settings: Settings, card: ModelCard, loras: tuple[Lora, ...], recipe: Recipe, target: Path) -> Recipe:
    item = protocol.Item(
        "replay",
        recipe.seed,
        recipe.prompt,
        recipe.negative_prompt,
        str(target),
        colors=tuple(map(parse_color, recipe.colors)),
        palette=recipe.palette,
        deliver_flawed=True,
    )
    order = protocol.Generate(
        card,
        recipe.width,
        recipe.height,
        recipe.steps,
        recipe.guidance,
        recipe.batch_size,
        item,
        isolated=True,
        loras=loras,
        second=recipe.upscale,
    )
    return await ask(settings, "replay", [order], _recipe_in)


def _recipe_in(report: protocol.Report) -> Recipe | None:
    """Return the recipe of the image, once it is generated. Raises CommandError if it cannot be."""
    match report:
        case protocol.Generated(recipe=recipe):
            return recipe
        case protocol.Failed() | protocol.BatchFailed() | protocol.LoadFailed():
            raise CommandError(f"{report.reason}: {report.message}")
        case _:
            return None


def _compare(image: Path, recipe: Recipe, again: Path, made: Recipe) -> Comparison:
    before, after = (np.asarray(Image.open(path), dtype=np.int16) for path in (image, again))
    different = np.abs(before - after)
    then, now = _flat(recipe), _flat(made)
    # A saved copy has an origin, and a new image has not.
    origin, png = read_origin(image), again.read_bytes()
    return Comparison(
        identical=image.read_bytes() == (png if origin is None else with_origin(png, origin)),
        values_different=int((different > 0).sum()),
        values=different.size,
        largest_difference=int(different.max()),
        changes={
            name: (then.get(name, "none"), now.get(name, "none"))
            for name in {**then, **now}
            if then.get(name) != now.get(name)
        },
    )


def _flat(recipe: Recipe) -> dict[str, str]:
    """Return the values by field, those of `versions` by their own names."""
    fields = msgspec.to_builtins(recipe)
    versions = fields.pop("versions")
    return {name: str(value) for name, value in {**fields, **versions}.items()}
