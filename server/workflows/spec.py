"""The parts that the specs of all workflows have in common: fields, bounds, and the checks that types cannot express."""

from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from pipelines.aspect_ratios import RATIOS, Tier
from pipelines.checks.steering import steering_problem
from pipelines.colors import PaletteMode, parse_color
from pipelines.guidance import follows_negative_prompts
from pipelines.model_card import ModelCard
from server.jobs import FailureMode
from server.models_file import MOST_IN_BRAND, Brand, Models
from server.validation import MOST_PROBLEMS, Problem
from server.workflows import loras
from server.workflows.loras import LoraChoice

MAX_TEXT = 200
MAX_NEGATIVE = 2000
MAX_COLORS = 8
MOST_LORAS = 4
MAX_METADATA = 16 * 1024
MAX_DEPTH = 64
MAX_SEED = 2**53 - 1


class GenerationSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields that every workflow takes."""

    #: Fields whose text counts without the spaces around it.
    trimmed: ClassVar[tuple[str, ...]] = ("negative_prompt", "display_name", "pilot_brand")

    dominant_colors: Annotated[
        list[str],
        Meta(max_length=MAX_COLORS, description="CSS colour names, #rgb or #rrggbb", examples=[["navy", "#f4e9d8"]]),
    ] = []
    palette: Annotated[
        PaletteMode | None,
        Meta(
            description="How dominant_colors reach the image: prompt, by words alone; steer, the image is guided towards them"
            " besides while it is made; match, the finished image's colours are moved onto them besides; null is the model's"
            " default"
        ),
    ] = None
    loras: Annotated[
        list[LoraChoice],
        Meta(max_length=MOST_LORAS, description="LoRAs of the model, beside those of its card and of the brand"),
    ] = []
    display_name: Annotated[str, Meta(max_length=MAX_TEXT, description="Empty: the server coins one")] = ""
    metadata: Annotated[dict[str, Any], Meta(description="Any JSON object up to 16 KiB; kept and echoed")] = {}
    image_model: Annotated[str | None, Meta(description="A model of GET /v1/models; null is the default")] = None
    resolution: Annotated[
        str | None, Meta(description="A tier the model offers: 0.5K, 1K, 2K or 4K; null is the model's default")
    ] = None
    aspect_ratio: Annotated[str | None, Meta(description=f"One of {', '.join(RATIOS)}; null is 1:1")] = None
    seed: Annotated[int, Meta(ge=0, le=MAX_SEED)] | None = None
    negative_prompt: Annotated[
        Annotated[str, Meta(max_length=MAX_NEGATIVE)] | None,
        Meta(description="What the image should not show; only for models that follow one"),
    ] = None
    eval_enabled: Annotated[bool | None, Meta(description="Measure the image; null is the configured default")] = None
    on_technical_failure: Annotated[
        FailureMode | None, Meta(description="null is the configured default, fail unless the operator changed it")
    ] = None
    pilot_brand: Annotated[
        Annotated[str, Meta(max_length=MOST_IN_BRAND)] | None,
        Meta(description="A label; if brands are configured, one of them"),
    ] = None


def common_problems(values: dict[str, Any], raw: dict[str, Any], models: Models) -> list[Problem]:
    """Return what is wrong with the common fields beside their types.

    `values` has only fields whose types are right, their text trimmed; `raw` has all that was sent.
    """
    colors = raw.get("dominant_colors")
    problems = _color_problems(colors if isinstance(colors, list) else [])
    if (problem := _metadata_problem(values.get("metadata", {}))) is not None:
        problems.append(Problem(("metadata",), "value_error", problem))
    ratio = values.get("aspect_ratio")
    if ratio is not None and ratio not in RATIOS:
        problems.append(Problem(("aspect_ratio",), "enum", f"{ratio[:40]!r} is not one of {', '.join(RATIOS)}"))
    brand = values.get("pilot_brand")
    if brand is not None and models.brands and brand not in models.brands:
        message = f"There is no brand {brand!r}; the brands are {', '.join(models.brands)}"
        problems.append(Problem(("pilot_brand",), "enum", message))
    card = named_card(values, models)
    if card is None:
        message = f"There is no model {values['image_model'][:100]!r}; the models are {', '.join(models.enabled)}"
        problems.append(Problem(("image_model",), "enum", message))
    else:
        problems += _card_problems(values, card, models)
        problems += loras.problems_of(values.get("loras", []), card, models.brands.get(brand or "", Brand()), models)
    return problems


def named_card(values: dict[str, Any], models: Models) -> ModelCard | None:
    """Return the card of the model that a spec names, or of the default model; None if it names none that is enabled."""
    name = values.get("image_model")
    return models.enabled.get(models.default_model if name is None else name)


def tier_of(spec: GenerationSpec, card: ModelCard) -> Tier:
    """Return the tier that a checked spec names, or else the card's default."""
    return next((tier for tier in card.tiers if tier == spec.resolution), card.limits.tier)


def length_problem(name: str, text: str, most: int) -> list[Problem]:
    """Return what is wrong with the length of a trimmed text that must have 1 … `most` characters."""
    if 1 <= len(text) <= most:
        return []
    kind = "too_long" if text else "too_short"
    return [Problem((name,), kind, f"1–{most} characters after trimming, not {len(text)}")]


def _card_problems(values: dict[str, Any], card: ModelCard, models: Models) -> list[Problem]:
    problems = []
    tier = values.get("resolution")
    if tier is not None and tier not in card.tiers:
        message = f"{card.name} does not offer {tier[:40]!r}; it offers {', '.join(card.tiers)}"
        problems.append(Problem(("resolution",), "enum", message))
    if values.get("negative_prompt") and not follows_negative_prompts(card):
        following = [name for name, other in models.enabled.items() if follows_negative_prompts(other)]
        way_out = f", or choose {' or '.join(following)}" if following else ", as no enabled model does"
        message = f"{card.name} does not follow a negative prompt; leave it out{way_out}"
        problems.append(Problem(("negative_prompt",), "value_error", message))
    if values.get("palette") is PaletteMode.STEER:
        weights = card.weights
        problem = steering_problem(weights.pipeline, weights.scheduler or weights.own_scheduler)
        if problem is not None:
            message = f"{card.name} cannot be steered: {problem}; choose prompt or match"
            problems.append(Problem(("palette",), "value_error", message))
    return problems


def _color_problems(colors: list[Any]) -> list[Problem]:
    """Return what is wrong with the texts among `colors`; `check` tells values of another type."""
    problems = []
    for index, color in enumerate(colors[:MOST_PROBLEMS]):
        if not isinstance(color, str):
            continue
        try:
            parse_color(color)
        except ValueError as error:
            problems.append(Problem(("dominant_colors", index), "value_error", str(error)))
    return problems


def _depth(value: Any, limit: int) -> int:
    """Count how deep objects and arrays nest, up to `limit`."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 0 if limit == 0 else max((1 + _depth(item, limit - 1) for item in inner), default=0)


def _metadata_problem(metadata: dict[str, Any]) -> str | None:
    if _depth(metadata, MAX_DEPTH) >= MAX_DEPTH:
        return f"It nests deeper than {MAX_DEPTH} levels"
    try:
        size = len(msgspec.json.encode(metadata))
    except (OverflowError, RecursionError, ValueError) as error:
        return f"It cannot be kept as JSON: {error}"
    return f"It has {size} bytes as JSON; at most {MAX_METADATA} are kept" if size > MAX_METADATA else None
