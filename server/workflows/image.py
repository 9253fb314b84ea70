"""The workflow `image-generation`: a prompt to one or more images."""

from typing import Annotated, Any

from msgspec import Meta

from pipelines.colors import parse_color
from pipelines.model_card import ModelCard
from server.jobs import JobType
from server.ledger.artifacts import ArtifactKind
from server.ledger.catalog import EntryType
from server.models_file import Brand
from server.validation import Problem
from server.workflows.prompts import Prompt, of_text
from server.workflows.spec import MAX_TEXT, GenerationSpec, length_problem
from server.workflows.workflow import Workflow

MAX_PROMPT = 4000
MAX_IMAGES = 8


class ImageSpec(GenerationSpec, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The spec of one or more images of a prompt."""

    trimmed = (*GenerationSpec.trimmed, "prompt")

    prompt: Annotated[
        str,
        Meta(
            min_length=1,
            description="Free text, 1–4,000 characters after trimming",
            examples=["a marble counter in warm evening light"],
        ),
    ]
    n: Annotated[int, Meta(ge=1, le=MAX_IMAGES, description="How many images; image i has the seed plus i")] = 1


def _own_problems(values: dict[str, Any]) -> list[Problem]:
    return length_problem("prompt", values["prompt"], MAX_PROMPT) if "prompt" in values else []


def _prompt_of(spec: ImageSpec, card: ModelCard, brand: Brand) -> Prompt:
    colors = [parse_color(color) for color in spec.dominant_colors]
    return of_text(card, brand, spec.prompt, colors, spec.negative_prompt or "")


def coin_name(spec: ImageSpec) -> str:
    """Return a readable name for a spec without one: the beginning of its prompt, at most 200 characters."""
    words = " ".join(spec.prompt.split())
    name = words if len(words) <= MAX_TEXT else words[: MAX_TEXT - 1].rsplit(" ", 1)[0] + "…"
    return name[:1].upper() + name[1:]


IMAGE_GENERATION: Workflow[ImageSpec] = Workflow(
    job_type=JobType.IMAGE_GENERATION,
    op_class="generator",
    operation_id="generateImages",
    summary="Generate images from a prompt",
    spec=ImageSpec,
    own_problems=_own_problems,
    prompt_of=_prompt_of,
    coin_name=coin_name,
    count_of=lambda spec: spec.n,
    label="Image generation",
    artifact_kind=ArtifactKind.IMAGE,
    entry_type=EntryType.IMAGE,
    entry_fields=("prompt", "metadata"),
    succeeded="The images are in the catalogue",
)
