"""Checks of a model card against diffusers and the model's folder.

The server checks every enabled card before it uses models.toml, and the GPU process checks a model before it reads its files.
A key, an option or an argument of a card either acts or is refused here, if diffusers' source shows it in a way that is easy
to read. The source shows only in part whether a scheduler works with a pipeline; `backlot models check --run` makes an image
to find out.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from pipelines.checks.call import problems_of_call, problems_of_guidance, problems_of_interval, problems_of_kind
from pipelines.checks.files import problems_of_files
from pipelines.checks.fit import problems_of_fit
from pipelines.checks.options import problems_of_options
from pipelines.checks.steering import steering_problem
from pipelines.colors import PaletteMode
from pipelines.diffusers_classes import class_names, parameters
from pipelines.model_card import ModelCard
from pipelines.model_index import read_if_there, read_model_index
from pipelines.nearest_name import did_you_mean
from pipelines.upscale import UPSCALING_PIPELINES, UPSCALING_SCHEDULERS

#: An id of the hub: NAME or OWNER/NAME.
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)


def problems_of(card: ModelCard, folder: Path | None) -> Iterator[str]:
    """Yield what is wrong with a card, and with its folder if that is on this box, each as `key = value: why`.

    Raises OSError or ValueError if the folder cannot be examined.
    """
    hub = card.weights.hub
    if hub is not None and (not _HUB_ID.fullmatch(hub) or len(hub) > 96 or ".." in hub or "--" in hub):
        yield f"hub = {hub!r}: {_hub_hint(hub)}"
    pipeline = card.weights.pipeline
    scheduler = card.weights.scheduler
    index = None if folder is None else read_model_index(folder)
    if folder is not None and index is not None:
        if pipeline is not None and pipeline != index.pipeline:
            yield f"pipeline = {pipeline!r}: the folder says {index.pipeline!r}; remove the key"
        pipeline = index.pipeline
        yield from problems_of_kind("model_index.json", pipeline)
        if scheduler is None:
            scheduler = index.scheduler
        yield from problems_of_files(card, folder, index)
        if card.weights.file is not None:
            yield from problems_of_fit(card, folder, index)
    elif pipeline is not None:
        yield from problems_of_kind(f"pipeline = {pipeline!r}", pipeline)
    known = class_names("schedulers") if card.weights.scheduler is not None else []
    if card.weights.scheduler is not None and card.weights.scheduler not in known:
        near = did_you_mean(card.weights.scheduler, known)
        yield f"scheduler = {card.weights.scheduler!r}: diffusers has no such scheduler{near}"
    elif scheduler is not None and (options := parameters("schedulers", scheduler, "__init__")) is not None:
        yield from (
            f"scheduler_options.{name}: {scheduler} has no such option{did_you_mean(name, options)}"
            for name in card.weights.scheduler_options
            if name not in options
        )
        if folder is not None and {"shift", "use_dynamic_shifting"} <= set(options):
            yield from _problems_of_shift(card, folder)
    yield from problems_of_call(card, pipeline, scheduler)
    yield from problems_of_interval(card, pipeline, scheduler)
    if folder is not None:
        yield from problems_of_guidance(card, folder, pipeline)
    yield from problems_of_options(card, folder, index)
    if card.sampling.palette is PaletteMode.STEER and (problem := steering_problem(pipeline, scheduler)) is not None:
        yield f"palette = 'steer': {problem}; write prompt or match"
    if card.sampling.upscale is not None:
        yield from _problems_of_second_pass(pipeline, scheduler)


def _problems_of_shift(card: ModelCard, folder: Path) -> Iterator[str]:
    """Yield which shifts of the noise schedule would not act: one shift serves all sizes, or it follows the size.

    Raises OSError or ValueError if the folder's scheduler cannot be examined.
    """
    given, own = card.weights.scheduler_options, read_if_there(folder / "scheduler" / "scheduler_config.json")
    if given.get("use_dynamic_shifting", own.get("use_dynamic_shifting", False)):
        if "shift" in given:
            yield (
                "scheduler_options.shift: it does not act with use_dynamic_shifting = true; write base_shift and max_shift,"
                " or use_dynamic_shifting = false beside it"
            )
        return
    for name in ("base_shift", "max_shift"):
        if name in given:
            yield f"scheduler_options.{name}: it acts only with use_dynamic_shifting = true; write that too, or shift instead"


def _problems_of_second_pass(pipeline: str | None, scheduler: str | None) -> Iterator[str]:
    if pipeline is not None and pipeline not in UPSCALING_PIPELINES:
        yield f"upscale: {pipeline} is not among those that can begin with a picture; remove it"
    if scheduler is not None and scheduler not in UPSCALING_SCHEDULERS:
        yield (
            f"upscale: {scheduler} cannot begin in the middle of its schedule; remove it, or write a scheduler that can:"
            f" {', '.join(sorted(UPSCALING_SCHEDULERS))}"
        )


def _hub_hint(hub: str) -> str:
    address = re.match(r"(?:https?://)?(?:www\.)?huggingface\.co/([\w.-]+/[\w.-]+)", hub)
    if address is not None:
        return f"a hub id is no address; write hub = {address[1]!r}"
    if hub.startswith(("/", "./", "~", "../")) or hub.count("/") > 1:
        return "a hub id looks like org/name; for a folder on this box write folder"
    return "a hub id looks like org/name"
