"""`GET /v1/models`: what a client may name."""

from typing import Literal

import msgspec
from litestar import get
from litestar.di import NamedDependency

from pipelines.guidance import follows_negative_prompts
from pipelines.studio_tiny.vocabulary import COLORS, MOOD_VOCABULARY, SCENE_VOCABULARY
from server.api.openapi import errors
from server.models_file import Models
from server.models_watch import ModelsFile
from server.scheduler.scheduler import Scheduler


class LoraView(msgspec.Struct, frozen=True):
    """A LoRA that a spec may name for a model."""

    name: str
    #: Words that are added to the prompts of its images.
    prompt: str
    licence: str


class VocabularyView(msgspec.Struct, frozen=True):
    """The words that a model with a closed vocabulary knows. A spec's free text is taken for one of them, or for none."""

    scenes: list[str]
    moods: list[str]
    #: The words that are used if a text means none of them.
    default_scene: str
    default_mood: str
    #: The most colours that the model reads.
    colors: int


class ModelView(msgspec.Struct, frozen=True):
    name: str
    default: bool
    tiers: list[str]
    default_tier: str
    steps: int
    #: Whether it is in memory at this moment. If not, it is loaded when a job asks for it.
    loaded: bool
    licence: str
    #: Whether it follows `negative_prompt`. If not, a spec that has one is refused.
    negative_prompt: bool
    loras: list[LoraView]
    #: Null if the model reads any words.
    vocabulary: VocabularyView | None


class OpenAIModel(msgspec.Struct, frozen=True):
    """A model as OpenAI's clients read it."""

    id: str
    #: Seconds since 1970 at which this server took up the present models.toml.
    created: int
    owned_by: str
    object: Literal["model"] = "model"


class ModelList(msgspec.Struct, frozen=True):
    """The models in two shapes at once: this server's, and `data` for OpenAI's clients."""

    models: list[ModelView]
    data: list[OpenAIModel]
    object: Literal["list"] = "list"


STUDIO_TINY = VocabularyView(
    scenes=list(SCENE_VOCABULARY.words),
    moods=list(MOOD_VOCABULARY.words),
    default_scene=SCENE_VOCABULARY.default,
    default_mood=MOOD_VOCABULARY.default,
    colors=COLORS,
)


@get("/models", responses=errors(), summary="List models", tags=["models"])
async def list_models(
    models: NamedDependency[Models], models_file: NamedDependency[ModelsFile], scheduler: NamedDependency[Scheduler]
) -> ModelList:
    loaded = scheduler.readiness().loaded
    return ModelList(
        models=[
            ModelView(
                name=name,
                default=name == models.default_model,
                tiers=list(card.tiers),
                default_tier=card.limits.tier,
                steps=card.sampling.steps,
                loaded=name in loaded,
                licence=card.licence,
                negative_prompt=follows_negative_prompts(card),
                loras=[LoraView(lora, table.prompt, table.licence) for lora, table in models.loras_of(name).items()],
                vocabulary=None if card.wording.vocabulary is None else STUDIO_TINY,
            )
            for name, card in models.enabled.items()
        ],
        data=[OpenAIModel(name, models_file.taken_up_at, "backlot") for name in models.enabled],
    )


ROUTES = [list_models]
