"""`backlot replay`: make an image again from its own text chunk, and compare."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.model_card import DIGESTED
from server.operator.errors import CommandError
from server.operator.output import json_option, show
from server.settings import read_settings

if TYPE_CHECKING:
    from server.operator.regeneration import Comparison


@click.command()
@click.argument("image", metavar="IMAGE.png", type=click.Path(path_type=Path))
@json_option
def replay(image: Path, as_json: bool) -> None:
    """Make an image again from its own text chunk and compare; the exit status is 1 if they differ."""
    # Imported here: NumPy and Pillow take longer to import than the other commands to run.
    from pipelines.recipe import NoRecipe
    from server.operator.regeneration import regenerate

    try:
        found = regenerate(read_settings(), image)
    except NoRecipe as error:
        raise CommandError(str(error)) from error
    show(found, "identical" if found.identical else _difference(found), as_json=as_json)
    if not found.identical:
        sys.exit(1)


def _difference(found: "Comparison") -> str:
    if not found.values_different and not found.changes:
        return "not identical: the pixels and the recipe are the same, but the file was written in another way"
    pixels = (
        f"{found.values_different} of {found.values} values differ, by at most {found.largest_difference} of 255"
        if found.values_different
        else "the pixels are identical, the recipe is not"
    )
    changes = [f"  {name}: {then} then, {now} now" for name, (then, now) in sorted(found.changes.items())]
    if "settings" in found.changes:
        changes.append(f"  settings are a digest; the card had another value of one of these: {', '.join(DIGESTED)}")
    return "\n".join([f"not identical: {pixels}", *(changes or ["  the recipes are equal"])])
