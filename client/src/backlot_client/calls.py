"""The calls of the API, each a request and the type of its answer. No I/O."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, TypedDict, TypeVar
from urllib.parse import quote

import msgspec

from backlot_client.answers import (
    Accepted,
    CatalogEntry,
    Credits,
    Estimate,
    EventPage,
    Job,
    JobPage,
    JobStatus,
    Models,
    Operations,
    TransactionPage,
    WholeJobPage,
)
from backlot_client.spec import GenerationSpec

if TYPE_CHECKING:
    from typing_extensions import Unpack  # in `typing` from Python 3.11 on

T = TypeVar("T")

#: If the server was asked to wait, give its answer up this many seconds after the end of that wait.
GRACE_S = 15.0


class Call(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    answer: type[T]
    path: str
    method: str = "GET"
    params: Mapping[str, Any] = {}
    headers: Mapping[str, str] = {}
    body: bytes | None = None
    #: Seconds for which the server may hold the answer.
    wait_s: float = 0.0


def submit(spec: GenerationSpec, idempotency_key: str | None, max_credits: int | None) -> Call[Accepted]:
    headers = {"Content-Type": "application/json", **_charged(idempotency_key, max_credits)}
    return Call(answer=Accepted, method="POST", path=spec.path, body=msgspec.json.encode(spec), headers=headers)


def submit_body(path: str, body: bytes, idempotency_key: str) -> Call[Accepted]:
    headers = {"Content-Type": "application/json", **_charged(idempotency_key, None)}
    return Call(answer=Accepted, method="POST", path=path, body=body, headers=headers)


def retry(job_id: str, idempotency_key: str | None, max_credits: int | None) -> Call[Accepted]:
    path = f"/v1/jobs/{quote(job_id, safe='')}/retry"
    return Call(answer=Accepted, method="POST", path=path, headers=_charged(idempotency_key, max_credits))


def _charged(idempotency_key: str | None, max_credits: int | None) -> dict[str, str]:
    """Return the headers of a request that costs credits, so that a repetition charges nothing more."""
    headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
    return headers if max_credits is None else {**headers, "Max-Credits": str(max_credits)}


def estimate(spec: GenerationSpec) -> Call[Estimate]:
    return Call(
        answer=Estimate,
        method="POST",
        path=spec.path,
        params={"dry_run": "true"},
        body=msgspec.json.encode(spec),
        headers={"Content-Type": "application/json"},
    )


def job(job_id: str) -> Call[Job]:
    return Call(answer=Job, path=f"/v1/jobs/{quote(job_id, safe='')}")


class JobFilter(TypedDict, total=False):
    """Selects the jobs to list. A field left out leaves out no job."""

    job_type: Sequence[str]
    status: JobStatus | None
    #: Exclusive, with a time zone.
    created_after: datetime | None
    #: Fields that the jobs' metadata has, with texts, numbers or truth values.
    metadata: Mapping[str, str | int | float | bool]


def jobs(limit: int, offset: int, **only: "Unpack[JobFilter]") -> Call[JobPage]:
    return Call(answer=JobPage, path="/v1/jobs", params=_jobs_page(limit, offset, **only))


def whole_jobs(limit: int, offset: int, **only: "Unpack[JobFilter]") -> Call[WholeJobPage]:
    params = {**_jobs_page(limit, offset, **only), "expand": "result"}
    return Call(answer=WholeJobPage, path="/v1/jobs", params=params)


def _jobs_page(
    limit: int,
    offset: int,
    *,
    job_type: Sequence[str] = (),
    status: JobStatus | None = None,
    created_after: datetime | None = None,
    metadata: Mapping[str, str | int | float | bool] = MappingProxyType({}),
) -> dict[str, Any]:
    return {
        "job_type": list(job_type),
        "metadata": _pairs(metadata),
        "status": status and status.value,
        "created_after": _moment(created_after),
        "limit": limit,
        "offset": offset,
    }


def events(job_id: str, since: int, wait_s: float) -> Call[EventPage]:
    path = f"/v1/jobs/{quote(job_id, safe='')}/events"
    return Call(answer=EventPage, path=path, params={"since": since, "wait": wait_s}, wait_s=wait_s)


def cancel(job_id: str) -> Call[Job]:
    return Call(answer=Job, method="POST", path=f"/v1/jobs/{quote(job_id, safe='')}/cancel")


class CatalogFilter(TypedDict, total=False):
    """Selects the entries of the catalogue to list. A field left out leaves out no entry."""

    #: `active` or `archived`.
    status: str | None
    #: Only favourites, or only others.
    favourite: bool | None
    #: Words that must all be in the name, the scene, the mood or the prompt.
    query: str | None
    model: str | None
    #: Fields that a picture's metadata must have with these values.
    metadata: Mapping[str, str | int | float | bool]
    #: Both are exclusive and have a time zone.
    created_after: datetime | None
    created_before: datetime | None


class BackgroundFilter(CatalogFilter, total=False):
    """Selects the backgrounds to list."""

    scene_type: str | None


def backgrounds(
    limit: int, offset: int, *, scene_type: str | None = None, **only: "Unpack[CatalogFilter]"
) -> Call[list[CatalogEntry]]:
    params = {"scene_type": scene_type, **_catalog_page(limit, offset, **only)}
    return Call(answer=list[CatalogEntry], path="/v1/catalog/backgrounds", params=params)


def background(public_id: str) -> Call[CatalogEntry]:
    return Call(answer=CatalogEntry, path=f"/v1/catalog/backgrounds/{quote(public_id, safe='')}")


def images(limit: int, offset: int, **only: "Unpack[CatalogFilter]") -> Call[list[CatalogEntry]]:
    return Call(answer=list[CatalogEntry], path="/v1/catalog/images", params=_catalog_page(limit, offset, **only))


def _catalog_page(
    limit: int,
    offset: int,
    *,
    status: str | None = None,
    favourite: bool | None = None,
    query: str | None = None,
    model: str | None = None,
    metadata: Mapping[str, str | int | float | bool] = MappingProxyType({}),
    created_after: datetime | None = None,
    created_before: datetime | None = None,
) -> dict[str, Any]:
    return {
        "metadata": _pairs(metadata),
        "status": status,
        "favourite": None if favourite is None else str(favourite).lower(),
        "q": query,
        "model": model,
        "created_after": _moment(created_after),
        "created_before": _moment(created_before),
        "limit": limit,
        "offset": offset,
    }


def image(public_id: str) -> Call[CatalogEntry]:
    return Call(answer=CatalogEntry, path=f"/v1/catalog/images/{quote(public_id, safe='')}")


def credits_() -> Call[Credits]:
    return Call(answer=Credits, path="/v1/credits")


def transactions(kind: str | None, limit: int, offset: int) -> Call[TransactionPage]:
    return Call(
        answer=TransactionPage, path="/v1/transactions", params={"kind": kind, "limit": limit, "offset": offset}
    )


def operations() -> Call[Operations]:
    return Call(answer=Operations, path="/v1/operations")


def models() -> Call[Models]:
    return Call(answer=Models, path="/v1/models")


def _pairs(metadata: Mapping[str, str | int | float | bool]) -> list[str]:
    """Return a filter of metadata as the server takes it."""
    return [
        f"{key}={value if isinstance(value, str) else msgspec.json.encode(value).decode()}"
        for key, value in metadata.items()
    ]


def _moment(time: datetime | None) -> str | None:
    return None if time is None else time.astimezone(timezone.utc).isoformat()
