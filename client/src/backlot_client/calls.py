"""The calls of the API, each a request and the type of its answer. No I/O."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, Generic, TypeVar
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
)
from backlot_client.spec import GenerationSpec

T = TypeVar("T")

#: Seconds beyond a wait that the server was asked for, until its answer is given up.
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


def submit(spec: GenerationSpec, idempotency_key: str | None = None) -> Call[Accepted]:
    return submit_body(spec.path, msgspec.json.encode(spec), idempotency_key or str(uuid.uuid4()))


def submit_body(path: str, body: bytes, idempotency_key: str) -> Call[Accepted]:
    headers = {"Content-Type": "application/json", "Idempotency-Key": idempotency_key}
    return Call(answer=Accepted, method="POST", path=path, body=body, headers=headers)


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


def jobs(
    job_type: Sequence[str], status: JobStatus | None, created_after: datetime | None, limit: int, offset: int
) -> Call[JobPage]:
    after = None if created_after is None else created_after.astimezone(timezone.utc).isoformat()
    params = {
        "job_type": list(job_type),
        "status": status and status.value,
        "created_after": after,
        "limit": limit,
        "offset": offset,
    }
    return Call(answer=JobPage, path="/v1/jobs", params=params)


def events(job_id: str, since: int, wait_s: float) -> Call[EventPage]:
    path = f"/v1/jobs/{quote(job_id, safe='')}/events"
    return Call(answer=EventPage, path=path, params={"since": since, "wait": wait_s}, wait_s=wait_s)


def cancel(job_id: str) -> Call[Job]:
    return Call(answer=Job, method="POST", path=f"/v1/jobs/{quote(job_id, safe='')}/cancel")


def backgrounds(scene_type: str | None, status: str | None, limit: int, offset: int) -> Call[list[CatalogEntry]]:
    params = {"scene_type": scene_type, "status": status, "limit": limit, "offset": offset}
    return Call(answer=list[CatalogEntry], path="/v1/catalog/backgrounds", params=params)


def background(public_id: str) -> Call[CatalogEntry]:
    return Call(answer=CatalogEntry, path=f"/v1/catalog/backgrounds/{quote(public_id, safe='')}")


def images(status: str | None, limit: int, offset: int) -> Call[list[CatalogEntry]]:
    params = {"status": status, "limit": limit, "offset": offset}
    return Call(answer=list[CatalogEntry], path="/v1/catalog/images", params=params)


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
