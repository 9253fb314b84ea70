"""`[models.NAME]` of models.toml: reads a card, and finds what is wrong with its text alone.

`card_files` finds what a card's files or its pipeline contradict.
"""

import re
from collections.abc import Iterator
from string import Formatter
from typing import Any

from pipelines.aspect_ratios import side_of
from pipelines.model_card import FlatCard, ModelCard
from pipelines.upscale import LARGEST_FACTOR
from server.toml_tables import shortened, told
from server.validation import check

#: The fields that a prompt's template may have.
_FIELDS = frozenset({"scene", "mood", "colors"})
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def read_card(name: str, raw: dict[str, Any], problems: list[str]) -> ModelCard | None:
    """Return the card of a table. If something is wrong with it, add that to `problems` and return None."""
    table = f"[models.{name}]"
    if not _NAME.fullmatch(name):
        problems.append(
            f"[models.{shortened(name)}]: a model's name has up to 100 letters, digits, '.', '_' and '-', the first of them a"
            " letter or a digit"
        )
        return None
    if "name" in raw:
        problems.append(f"{table} name: a model's name is its table's; remove the key")
        return None
    for key in ("stamp", "own_scheduler", "takes_guidance"):
        if key in raw:
            problems.append(f"{table} {key}: the server works it out; remove the key")
            return None
    values, unfit = check(raw, FlatCard)
    if unfit:
        problems += [told(table, problem) for problem in unfit]
        return None
    card = ModelCard.from_flat(**values, name=name)
    contradictions = [f"{table}{problem}" for problem in _contradictions(card)]
    problems += contradictions
    return None if contradictions else card


def _contradictions(card: ModelCard) -> Iterator[str]:
    """Yield how the fields of a card contradict each other, each as text to follow the name of the table."""
    weights, limits = card.weights, card.limits
    if weights.folder is not None and weights.hub is not None:
        yield ": give either folder (a diffusers folder on this box) or hub (an id such as org/name)"
    if weights.folder is None and weights.hub is None and weights.file is None:
        yield (
            ": give folder (a diffusers folder on this box), hub (an id such as org/name) or file (a checkpoint in one file)"
        )
    if weights.folder is not None and weights.revision is not None:
        yield f" revision = {weights.revision!r}: a folder has no revisions; remove the key"
    if limits.default_tier is not None and limits.default_tier not in card.tiers:
        yield f" default_tier = {limits.default_tier!r} is not among its tiers {list(card.tiers)}; name one of them"
    if len(set(limits.tiers)) < len(limits.tiers):
        yield f" tiers = {list(limits.tiers)}: name each tier once"
    yield from _contradictions_of_upscale(card)
    if odd := [size for size in limits.batch_sizes if size & (size - 1)]:
        yield f" batch_shapes: {odd} are not powers of two, at which alone a seed is exact; remove them"
    if any(size > limits.max_batch for size in limits.batch_sizes):
        yield f" batch_shapes = {list(limits.batch_sizes)} go above max_batch = {limits.max_batch}; raise it, or remove them"
    if limits.idle_unload_s is not None and card.pinned:
        yield f" idle_unload_s = {limits.idle_unload_s:g}: pinned keeps the model in memory; choose one of the two"
    if not _is_template(card.wording.prompt):
        yield f" prompt = {card.wording.prompt!r}: only {{scene}}, {{mood}} and {{colors}} can be filled in, written so"


def _is_template(prompt: str) -> bool:
    """Return whether all braces of a prompt are plain fields, with a known name and no width or conversion."""
    try:
        fields = [field for _, *field in Formatter().parse(prompt) if field[0] is not None]
    except ValueError:
        return False
    return all(name in _FIELDS and not spec and not conversion for name, spec, conversion in fields)


def _contradictions_of_upscale(card: ModelCard) -> Iterator[str]:
    """Yield what is wrong with the tiers of the second pass."""
    upscale, own = card.sampling.upscale, card.upscaled_from
    if upscale is not None and len(set(upscale.tiers)) < len(upscale.tiers):
        yield f" upscale.tiers = {list(upscale.tiers)}: name each tier once"
    for tier in upscale.tiers if upscale is not None else ():
        factor = side_of(tier) / side_of(own)
        if tier in card.limits.tiers:
            yield f" upscale.tiers: {tier} is among its tiers already, and made without a second pass; remove it from one"
        elif factor < 1:
            yield f" upscale.tiers: {tier} is below {own}, from which larger ones are made; remove it, or add it to tiers"
        elif factor > LARGEST_FACTOR:
            yield (
                f" upscale.tiers: {tier} is {factor:g} times {own}, the largest of its tiers;"
                f" more than {LARGEST_FACTOR} times would be made up; remove it"
            )
    if upscale is not None and upscale.tile is not None and upscale.tile < 2 * card.limits.multiple_of:
        yield f" upscale.tile = {upscale.tile}: it takes at least two times multiple_of, {2 * card.limits.multiple_of}"
