"""`/healthz`, `/readyz`, `/metrics`."""

import asyncio
from collections.abc import Sequence

import msgspec
from litestar import Response, Router, get
from litestar.di import NamedDependency
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from server import metrics, nvml
from server.api.openapi import answer
from server.disk_room import DiskRoom, free_bytes
from server.ledger.database import Database
from server.models_watch import ModelsFile
from server.scheduler.gpu_state import GpuState
from server.scheduler.readiness import DeviceStatus
from server.scheduler.scheduler import Scheduler
from server.settings import Settings


class Health(msgspec.Struct, frozen=True):
    status: str


class DownloadView(msgspec.Struct, frozen=True):
    """A model on its way from a hub."""

    model: str
    #: These three are null until the hub has answered. `bytes` includes those of earlier downloads.
    bytes: int | None = None
    total_bytes: int | None = None
    bytes_per_s: float | None = None


class Readiness(msgspec.Struct, frozen=True):
    ready: bool
    #: Why it is not ready; null if it is.
    reason: str | None
    #: The reason why the next job has to wait although the server is ready; null if there is none.
    note: str | None
    #: The models in memory.
    models: list[str]
    #: The state of the ablest GPU process.
    gpu_process: GpuState
    #: The first device that is up.
    device: str | None
    devices: list[DeviceStatus]
    #: The models that could not be loaded, each with its error.
    load_errors: dict[str, str]
    #: The models that are being downloaded.
    downloads: list[DownloadView]
    #: The fault of models.toml as it is now; null if all of it is in use.
    models_file_error: str | None
    queue: int


@get("/healthz", summary="Does the process answer?")
async def read_health() -> Health:
    return Health("ok")


@get(
    "/readyz",
    summary="Can a model serve?",
    responses={503: answer(Readiness, "Not yet, or no longer; says why")},
)
async def read_readiness(
    models_file: NamedDependency[ModelsFile],
    scheduler: NamedDependency[Scheduler],
    database: NamedDependency[Database],
    disk: NamedDependency[DiskRoom],
) -> Response[Readiness]:
    gpus = scheduler.readiness()
    reason = database.problem or disk.look() or gpus.reason
    body = Readiness(
        ready=reason is None,
        reason=reason,
        note=gpus.note if reason is None else None,
        models=gpus.loaded,
        gpu_process=gpus.state,
        device=gpus.device,
        devices=gpus.devices,
        load_errors=scheduler.loads.errors,
        downloads=[
            DownloadView(name)
            if (at := running.progress) is None
            else DownloadView(name, at.done_bytes, at.total_bytes, at.bytes_per_s)
            for name, running in scheduler.loads.downloads.items()
        ],
        models_file_error=models_file.error,
        queue=scheduler.backlog,
    )
    return Response(body, status_code=200 if reason is None else 503)


@get("/metrics", media_type="text/plain", summary="Prometheus metrics")
async def read_metrics(scheduler: NamedDependency[Scheduler], settings: NamedDependency[Settings]) -> Response[bytes]:
    _note_devices(scheduler.readiness().devices)
    metrics.images_waiting.set(scheduler.backlog)
    metrics.queue_oldest_seconds.set(scheduler.control.oldest_s)
    metrics.queue_paused.set(scheduler.control.paused_at is not None)
    metrics.disk_free.set(free_bytes(settings.data))
    await asyncio.to_thread(nvml.note_gpus)
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


def _note_devices(devices: Sequence[DeviceStatus]) -> None:
    """Set the gauges that have a value for each device, and drop the values of devices that are gone."""
    for gauge in (metrics.images_in_flight, metrics.slots, metrics.device_up, metrics.device_memory):
        gauge.clear()
    for device in devices:
        metrics.images_in_flight.labels(device.name).set(device.images_in_flight)
        metrics.slots.labels(device.name).set(device.slots)
        metrics.device_up.labels(device.name).set(device.is_up)
        metrics.device_memory.labels(device.name).set(device.memory_used_bytes or 0)


ROUTER = Router("/", tags=["operator"], route_handlers=[read_health, read_readiness, read_metrics])
