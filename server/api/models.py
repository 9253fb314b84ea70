"""`GET /v1/models`: what a client may name."""

import msgspec
from litestar import get
from litestar.di import NamedDependency

from server.api.auth import can_read
from server.api.openapi import errors
from server.models_file import Models
from server.scheduler.scheduler import Scheduler


class ModelView(msgspec.Struct, frozen=True):
    name: str
    default: bool
    tiers: list[str]
    default_tier: str
    steps: int
    #: In memory at this moment; another one is loaded when a job asks for it.
    loaded: bool
    licence: str


class ModelList(msgspec.Struct, frozen=True):
    models: list[ModelView]


@get("/models", guards=[can_read], responses=errors(), summary="List models", tags=["models"])
async def list_models(models: NamedDependency[Models], scheduler: NamedDependency[Scheduler]) -> ModelList:
    return ModelList(
        [
            ModelView(
                name=name,
                default=name == models.default_model,
                tiers=list(card.tiers),
                default_tier=card.tier,
                steps=card.steps,
                loaded=name in scheduler.resident,
                licence=card.licence,
            )
            for name, card in models.enabled.items()
        ]
    )
