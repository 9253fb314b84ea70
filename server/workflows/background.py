"""The workflow `background-generator`: a scene, a mood and colours to one catalogue background."""

from typing import Annotated, Any

from msgspec import Meta

from pipelines.colors import color_name, parse_color
from pipelines.model_card import ModelCard
from server.jobs import JobType
from server.ledger.artifacts import ArtifactKind
from server.ledger.catalog import EntryType
from server.models_file import Brand
from server.validation import Problem
from server.workflows.prompts import Prompt, of_scene, of_text
from server.workflows.spec import MAX_TEXT, GenerationSpec, length_problem
from server.workflows.workflow import Workflow

MAX_PROMPT = 2000


class BackgroundSpec(GenerationSpec, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The spec of a background."""

    trimmed = (*GenerationSpec.trimmed, "scene_type", "mood", "prompt")

    scene_type: Annotated[
        str, Meta(min_length=1, description="Free text, 1–200 characters after trimming", examples=["marble"])
    ]
    mood: Annotated[
        str, Meta(min_length=1, description="Free text, 1–200 characters after trimming", examples=["warm"])
    ]
    prompt: Annotated[
        str | None,
        Meta(description="1–2,000 characters that replace the model's own template; scene and mood are kept as data"),
    ] = None


def _own_problems(values: dict[str, Any]) -> list[Problem]:
    problems = []
    for name, most in (("scene_type", MAX_TEXT), ("mood", MAX_TEXT), ("prompt", MAX_PROMPT)):
        text = values.get(name)
        if text is not None:
            problems += length_problem(name, text, most)
    return problems


def _prompt_of(spec: BackgroundSpec, card: ModelCard, brand: Brand) -> Prompt:
    colors = [parse_color(color) for color in spec.dominant_colors]
    negative = spec.negative_prompt or ""
    if spec.prompt is None:
        return of_scene(card, brand, spec.scene_type, spec.mood, colors, negative)
    return of_text(card, brand, spec.prompt, colors, negative)


def coin_name(spec: BackgroundSpec) -> str:
    """Return a readable name for a spec without one: `Warm marble in navy`; at most 200 characters."""
    names = list(dict.fromkeys(color_name(parse_color(color)) for color in spec.dominant_colors))[:2]
    palette = f" in {' and '.join(names)}" if names else ""
    words = f"{spec.mood} {spec.scene_type}"[: MAX_TEXT - len(palette)]
    return words[:1].upper() + words[1:] + palette


BACKGROUND_GENERATOR: Workflow[BackgroundSpec] = Workflow(
    job_type=JobType.BACKGROUND_GENERATOR,
    op_class="generator",
    operation_id="generateBackground",
    summary="Generate a catalogue background",
    spec=BackgroundSpec,
    own_problems=_own_problems,
    prompt_of=_prompt_of,
    coin_name=coin_name,
    count_of=lambda _: 1,
    label="Background generator",
    artifact_kind=ArtifactKind.CATALOG_IMAGE,
    entry_type=EntryType.BACKGROUND,
    entry_fields=("scene_type", "mood", "dominant_colors", "metadata"),
    succeeded="The background is in the catalogue",
)
