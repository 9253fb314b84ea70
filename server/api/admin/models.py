"""`/v1/admin/models`: which models are in memory, and what the operator wants there."""

from enum import StrEnum

import msgspec
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from server.api.openapi import errors
from server.errors import Conflict, ResourceNotFound
from server.models_file import Models
from server.scheduler.scheduler import Scheduler


class ModelState(StrEnum):
    #: In the memory of a device.
    LOADED = "loaded"
    #: On its way into the memory of a device.
    LOADING = "loading"
    #: Its files are on their way from a hub.
    DOWNLOADING = "downloading"
    #: It could not be loaded.
    FAILED = "failed"
    #: Not in memory; a job loads it.
    IDLE = "idle"
    #: Switched off in models.toml.
    DISABLED = "disabled"


class ModelStanding(msgspec.Struct, frozen=True):
    name: str
    state: ModelState
    default: bool
    pinned: bool
    #: The source of its weights.
    source: str
    licence: str
    tiers: list[str]
    #: The devices that have it in memory.
    devices: list[str]
    #: Bytes of a device's memory that its weights take; null if it is in none.
    bytes: int | None
    #: Why it could not be loaded; null if nothing is wrong.
    error: str | None


class ModelStandings(msgspec.Struct, frozen=True):
    models: list[ModelStanding]


@get("/models", responses=errors(), summary="See which models are in memory")
async def list_model_states(models: NamedDependency[Models], scheduler: NamedDependency[Scheduler]) -> ModelStandings:
    return ModelStandings([_standing(name, models, scheduler) for name in models.models])


@post("/models/{name:str}/load", status_code=202, responses=errors(404, 409), summary="Load a model")
async def load_model(
    name: FromPath[str], models: NamedDependency[Models], scheduler: NamedDependency[Scheduler]
) -> ModelStanding:
    """Load a model on every device that is up. One that runs images only prefetches it, until a job asks for it."""
    _known(name, models)
    if name not in models.enabled:
        raise Conflict(f"{name} is switched off in models.toml; enable it there first")
    if not models.enabled[name].is_on_this_box:
        raise Conflict(f"{name} is not on this box yet; its first job downloads it, or backlot models fetch {name}")
    if not any(gpu.is_up for gpu in scheduler.gpus):
        raise Conflict("No GPU process is up; GET /v1/admin/devices says what they do")
    scheduler.load(models.enabled[name])
    return _standing(name, models, scheduler)


@post("/models/{name:str}/unload", status_code=202, responses=errors(404, 409), summary="Unload a model")
async def unload_model(
    name: FromPath[str], models: NamedDependency[Models], scheduler: NamedDependency[Scheduler]
) -> ModelStanding:
    """Free the memory that a model takes. The next job that asks for it loads it again."""
    _known(name, models)
    using = [gpu for gpu in scheduler.gpus if gpu.groups.of_model(name)]
    if using:
        raise Conflict(f"{name} generates images now; pause the queue, or wait until it is idle")
    for gpu in scheduler.gpus:
        if name in gpu.loaded:
            gpu.unload(name)
    return _standing(name, models, scheduler)


def _known(name: str, models: Models) -> None:
    if name not in models.models:
        raise ResourceNotFound(f"There is no model {name[:64]!r} in models.toml; there are {', '.join(models.models)}")


def _standing(name: str, models: Models, scheduler: Scheduler) -> ModelStanding:
    card = models.models[name]
    holding = [gpu for gpu in scheduler.gpus if name in gpu.loaded]
    return ModelStanding(
        name=name,
        state=_state(name, models, scheduler),
        default=name == models.default_model,
        pinned=bool(card.pinned),
        source=card.weights.source,
        licence=card.licence,
        tiers=list(card.tiers),
        devices=[gpu.name for gpu in holding],
        bytes=max((gpu.weight_bytes[name] for gpu in holding), default=None),
        error=scheduler.loads.errors.get(name),
    )


def _state(name: str, models: Models, scheduler: Scheduler) -> ModelState:
    if name not in models.enabled:
        return ModelState.DISABLED
    if any(name in gpu.loaded for gpu in scheduler.gpus):
        return ModelState.LOADED
    if any(gpu.loading == name for gpu in scheduler.gpus):
        return ModelState.LOADING
    if name in scheduler.loads.downloads:
        return ModelState.DOWNLOADING
    return ModelState.FAILED if name in scheduler.loads.errors else ModelState.IDLE
