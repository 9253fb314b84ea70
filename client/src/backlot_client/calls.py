"""The calls of the API, each a request and the type of its answer. No I/O."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
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


CREDITS = Call(answer=Credits, path="/v1/credits")
MODELS = Call(answer=Models, path="/v1/models")
OPERATIONS = Call(answer=Operations, path="/v1/operations")


def submit(spec: GenerationSpec, idempotency_key: str | None, max_credits: int | None) -> Call[Accepted]:
    return submit_body(spec.path, msgspec.json.encode(spec), idempotency_key, max_credits)


def submit_body(path: str, body: bytes, idempotency_key: str | None, max_credits: int | None = None) -> Call[Accepted]:
    headers = {"Content-Type": "application/json", **_charged(idempotency_key, max_credits)}
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
    return Call(answer=JobPage, path="/v1/jobs", params=_page(limit, offset, JobFilter.__optional_keys__, only))


def whole_jobs(limit: int, offset: int, **only: "Unpack[JobFilter]") -> Call[WholeJobPage]:
    params = {**_page(limit, offset, JobFilter.__optional_keys__, only), "expand": "result"}
    return Call(answer=WholeJobPage, path="/v1/jobs", params=params)


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


def backgrounds(limit: int, offset: int, **only: "Unpack[BackgroundFilter]") -> Call[list[CatalogEntry]]:
    params = _page(limit, offset, BackgroundFilter.__optional_keys__, only)
    return Call(answer=list[CatalogEntry], path="/v1/catalog/backgrounds", params=params)


def background(public_id: str) -> Call[CatalogEntry]:
    return Call(answer=CatalogEntry, path=f"/v1/catalog/backgrounds/{quote(public_id, safe='')}")


def images(limit: int, offset: int, **only: "Unpack[CatalogFilter]") -> Call[list[CatalogEntry]]:
    params = _page(limit, offset, CatalogFilter.__optional_keys__, only)
    return Call(answer=list[CatalogEntry], path="/v1/catalog/images", params=params)


def image(public_id: str) -> Call[CatalogEntry]:
    return Call(answer=CatalogEntry, path=f"/v1/catalog/images/{quote(public_id, safe='')}")


def transactions(kind: str | None, limit: int, offset: int) -> Call[TransactionPage]:
    return Call(
        answer=TransactionPage, path="/v1/transactions", params={"kind": kind, "limit": limit, "offset": offset}
    )


def _page(limit: int, offset: int, known: frozenset[str], only: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a page with these filters. Raises TypeError for a filter that is not known."""
    if unknown := only.keys() - known:
        raise TypeError(f"there is no filter {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
    filters = {"q" if name == "query" else name: _written(value) for name, value in only.items()}
    return {**filters, "limit": limit, "offset": offset}


def _written(value: Any) -> Any:
    """Return a filter's value as the server takes it."""
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc).isoformat()
    if isinstance(value, Mapping):
        return [
            f"{key}={each if isinstance(each, str) else msgspec.json.encode(each).decode()}"
            for key, each in value.items()
        ]
    return value.value if isinstance(value, JobStatus) else value
