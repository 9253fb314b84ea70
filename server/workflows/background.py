"""The background spec: its wire form, its bounds, and what it resolves to under the present models.toml."""

import random
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from pipelines.aspect_ratios import RATIOS, size_of
from pipelines.colors import color_name, parse_color
from server.api.errors import Invalid
from server.jobs import Work
from server.models_file import Brand, Models
from server.validation import MOST_PROBLEMS, Problem, check
from server.workflows.prompts import write_prompt

MAX_TEXT = 200
MAX_COLORS = 8
MAX_METADATA = 16 * 1024
MAX_DEPTH = 64
MAX_SEED = 2**53 - 1
#: Seeds drawn by the server stay below this, so that people can read them aloud.
DRAWN_SEEDS = 2**32


class BackgroundSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a client asks for."""

    scene_type: Annotated[
        str, Meta(min_length=1, description="Free text, 1–200 characters after trimming", examples=["marble"])
    ]
    mood: Annotated[
        str, Meta(min_length=1, description="Free text, 1–200 characters after trimming", examples=["warm"])
    ]
    dominant_colors: Annotated[
        list[str],
        Meta(max_length=MAX_COLORS, description="CSS colour names, #rgb or #rrggbb", examples=[["navy", "#f4e9d8"]]),
    ] = []
    display_name: Annotated[str, Meta(max_length=MAX_TEXT, description="Empty: the server coins one")] = ""
    metadata: Annotated[dict[str, Any], Meta(description="Any JSON object up to 16 KiB; kept and echoed")] = {}
    image_model: Annotated[str | None, Meta(description="A model of GET /v1/models; null is the default")] = None
    resolution: Annotated[
        str | None, Meta(description="A tier the model offers: 0.5K, 1K, 2K or 4K; null is the model's default")
    ] = None
    aspect_ratio: Annotated[str | None, Meta(description=f"One of {', '.join(RATIOS)}; null is 1:1")] = None
    seed: Annotated[int, Meta(ge=0, le=MAX_SEED)] | None = None
    eval_enabled: Annotated[bool | None, Meta(description="Measure the image; null is the configured default")] = None
    on_technical_failure: Annotated[
        Literal["fail", "retry", "deliver"] | None, Meta(description="null is the configured default, fail")
    ] = None
    pilot_brand: Annotated[
        Annotated[str, Meta(max_length=MAX_TEXT)] | None,
        Meta(description="A label; where brands are configured, one of them"),
    ] = None

    def __post_init__(self) -> None:
        for name in ("scene_type", "mood", "display_name", "pilot_brand"):
            text = getattr(self, name)
            if text is not None:
                msgspec.structs.force_setattr(self, name, text.strip())


def decode_body(body: bytes) -> Any:
    """The body's JSON. Raises Invalid of kind `json_invalid`."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        detail = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise Invalid([Problem(("body",), "json_invalid", f"The body is not JSON: {detail}")]) from None


def check_spec(raw: Any, models: Models, others: Sequence[Problem] = ()) -> BackgroundSpec:
    """Raises Invalid with every problem found, types and bounds alike, `others` of the same request included."""
    values, problems = check(raw, BackgroundSpec)
    for name in ("scene_type", "mood", "display_name", "pilot_brand"):
        if isinstance(values.get(name), str):
            values[name] = values[name].strip()
    colors = raw.get("dominant_colors") if isinstance(raw, dict) else None
    problems.extend(_color_problems(colors if isinstance(colors, list) else []))
    problems.extend(_problems(values, models))
    problems = [msgspec.structs.replace(problem, loc=("body", *problem.loc)) for problem in problems]
    if problems or others:
        raise Invalid([*others, *problems])
    return BackgroundSpec(**values)


def _problems(values: dict[str, Any], models: Models) -> list[Problem]:
    """What the types do not say. `values` has only fields whose types are right."""
    problems = []
    for name in ("scene_type", "mood"):
        text = values.get(name)
        if text is not None and not 1 <= len(text) <= MAX_TEXT:
            kind = "too_long" if text else "too_short"
            problems.append(Problem((name,), kind, f"1–{MAX_TEXT} characters after trimming, not {len(text)}"))
    if (problem := _metadata_problem(values.get("metadata", {}))) is not None:
        problems.append(Problem(("metadata",), "value_error", problem))
    ratio = values.get("aspect_ratio")
    if ratio is not None and ratio not in RATIOS:
        problems.append(Problem(("aspect_ratio",), "enum", f"{ratio[:40]!r} is not one of {', '.join(RATIOS)}"))
    enabled = models.enabled
    name = values.get("image_model") or models.default_model
    if values.get("image_model") == "" or name not in enabled:
        problems.append(
            Problem(
                ("image_model",),
                "enum",
                f"There is no model {values['image_model'][:100]!r}; the models are {', '.join(enabled)}",
            )
        )
    elif (tier := values.get("resolution")) is not None and tier not in enabled[name].tiers:
        problems.append(
            Problem(
                ("resolution",),
                "enum",
                f"{name} does not offer {tier[:40]!r}; it offers {', '.join(enabled[name].tiers)}",
            )
        )
    brand = values.get("pilot_brand")
    if brand is not None and models.brands and brand not in models.brands:
        problems.append(
            Problem(("pilot_brand",), "enum", f"There is no brand {brand!r}; the brands are {', '.join(models.brands)}")
        )
    return problems


def _color_problems(colors: list[Any]) -> list[Problem]:
    """Of the texts among them; those of another type are told already."""
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
    """How deep objects and arrays nest, counted up to `limit`."""
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


def resolve(spec: BackgroundSpec, models: Models) -> Work:
    """Fix everything the spec leaves open: model, size, seed, prompt, name."""
    operation = models.operations.background_generator
    card = models.models[spec.image_model or models.default_model]
    # check_spec has seen to it that the tier is one of the card's.
    tier = next((tier for tier in card.tiers if tier == spec.resolution), card.tier)
    width, height = size_of(tier, spec.aspect_ratio or "1:1", card.multiple_of)
    colors = tuple(parse_color(color) for color in spec.dominant_colors)
    brand = models.brands.get(spec.pilot_brand or "", Brand())
    prompt = write_prompt(card, brand, spec.scene_type, spec.mood, colors)
    return Work(
        model=card.name,
        width=width,
        height=height,
        steps=card.steps,
        guidance=card.guidance,
        seed=random.randrange(DRAWN_SEEDS) if spec.seed is None else spec.seed,  # noqa: S311  not a secret
        prompt=prompt.text,
        negative_prompt=prompt.negative,
        colors=colors,
        evaluate=operation.eval_enabled if spec.eval_enabled is None else spec.eval_enabled,
        on_technical_failure=spec.on_technical_failure or operation.on_technical_failure,
        max_attempts=operation.max_attempts,
        display_name=spec.display_name or coin_name(spec),
        understood=prompt.understood,
    )


def coin_name(spec: BackgroundSpec) -> str:
    """A readable name where the client gives none: `Warm marble in navy`; at most 200 characters."""
    names = list(dict.fromkeys(color_name(parse_color(color)) for color in spec.dominant_colors))[:2]
    palette = f" in {' and '.join(names)}" if names else ""
    words = f"{spec.mood} {spec.scene_type}"[: MAX_TEXT - len(palette)]
    return words[:1].upper() + words[1:] + palette
