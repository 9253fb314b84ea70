"""Backlot's client: submit, follow and fetch generations.

with Client("http://box:8700", "sk_live_…") as backlot:
    accepted = backlot.submit(BackgroundSpec(scene_type="marble", mood="warm", dominant_colors=["ivory"]))
    job = backlot.wait(accepted.job_id)
    backlot.download(job.images[0], "marble.png")
"""

from backlot_client.answers import (
    Accepted,
    Artifact,
    CatalogEntry,
    CatalogSpec,
    Credits,
    Estimate,
    EventPage,
    EventType,
    Job,
    JobEvent,
    JobPage,
    JobStatus,
    JobSummary,
    Model,
    Operation,
    Transaction,
    TransactionPage,
    Understood,
)
from backlot_client.async_client import AsyncClient
from backlot_client.client import Client
from backlot_client.errors import (
    ApiError,
    BacklotError,
    Conflict,
    Forbidden,
    IncompleteDownload,
    InsufficientBalance,
    Invalid,
    JobFailed,
    NotConfigured,
    NotFound,
    Problem,
    RateLimited,
    ServerError,
    Unauthorized,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
    WaitTimeout,
)
from backlot_client.retries import Retries
from backlot_client.spec import BackgroundSpec, GenerationSpec, ImageSpec, Lora

__all__ = [
    "Accepted",
    "ApiError",
    "Artifact",
    "AsyncClient",
    "BackgroundSpec",
    "BacklotError",
    "CatalogEntry",
    "CatalogSpec",
    "Client",
    "Conflict",
    "Credits",
    "Estimate",
    "EventPage",
    "EventType",
    "Forbidden",
    "GenerationSpec",
    "ImageSpec",
    "IncompleteDownload",
    "InsufficientBalance",
    "Invalid",
    "Job",
    "JobEvent",
    "JobFailed",
    "JobPage",
    "JobStatus",
    "JobSummary",
    "Lora",
    "Model",
    "NotConfigured",
    "NotFound",
    "Operation",
    "Problem",
    "RateLimited",
    "Retries",
    "ServerError",
    "Transaction",
    "TransactionPage",
    "Unauthorized",
    "Unavailable",
    "Understood",
    "UnexpectedAnswer",
    "Unreachable",
    "WaitTimeout",
]
