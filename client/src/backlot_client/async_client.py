"""`AsyncClient`: the `Client` for asyncio. A test holds the two to the same methods and parameters."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

from backlot_client import calls, flows
from backlot_client.answers import (
    Accepted,
    Artifact,
    CatalogEntry,
    Credits,
    Estimate,
    EventPage,
    Job,
    JobEvent,
    JobPage,
    JobStatus,
    Model,
    Operation,
    TransactionPage,
    WholeJobPage,
)
from backlot_client.auth import KeyAuth
from backlot_client.calls import BackgroundFilter, Call, CatalogFilter, JobFilter
from backlot_client.client import USER_AGENT, configured
from backlot_client.errors import JobFailed, Unreachable, unreachable
from backlot_client.following import Following
from backlot_client.retries import Retries
from backlot_client.spec import GenerationSpec
from backlot_client.steps import Ended, Flow, Pause, Read, Send, Step, resume

if TYPE_CHECKING:
    from typing_extensions import Unpack  # in `typing` from Python 3.11 on

T = TypeVar("T")


class AsyncClient:
    """Its methods do the same as those of `Client`, and are awaited; `follow` is an async iterator.

    It belongs to one event loop. Files are written in the loop's own thread, piece by piece as they arrive.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        signing_secret: str | None = None,
        retries: Retries | None = None,
    ) -> None:
        url, self._auth = configured(url, key, signing_secret)
        self._retries = retries or Retries()
        self._http = httpx.AsyncClient(base_url=url, headers={"User-Agent": USER_AGENT})

    async def submit(
        self, spec: GenerationSpec, *, idempotency_key: str | None = None, max_credits: int | None = None
    ) -> Accepted:
        return await self._call(calls.submit(spec, idempotency_key, max_credits))

    async def submit_body(self, path: str, body: bytes, idempotency_key: str) -> Accepted:
        return await self._call(calls.submit_body(path, body, idempotency_key))

    async def estimate(self, spec: GenerationSpec) -> Estimate:
        return await self._call(calls.estimate(spec))

    async def job(self, job_id: str) -> Job:
        return await self._call(calls.job(job_id))

    async def jobs(self, *, limit: int = 50, offset: int = 0, **only: "Unpack[JobFilter]") -> JobPage:
        return await self._call(calls.jobs(limit, offset, **only))

    async def whole_jobs(self, *, limit: int = 50, offset: int = 0, **only: "Unpack[JobFilter]") -> WholeJobPage:
        return await self._call(calls.whole_jobs(limit, offset, **only))

    async def events(self, job_id: str, *, since: int = 0, wait_s: float = 0) -> EventPage:
        return await self._call(calls.events(job_id, since, wait_s))

    async def follow(self, job_id: str, *, since: int = 0, timeout_s: float | None = None) -> AsyncIterator[JobEvent]:
        flow = Following(self._retries, job_id, since, timeout_s).events()
        with closing(flow):
            async with aclosing(_Exchange(self._http, self._auth)) as exchange:
                result: Any = None
                while not isinstance(step := resume(flow, result), Ended):
                    if isinstance(step, JobEvent):
                        yield step
                        result = None
                    else:
                        result = await exchange.do(step)

    async def wait(
        self, job_id: str, *, timeout_s: float | None = None, on_event: Callable[[JobEvent], object] | None = None
    ) -> Job:
        async for event in self.follow(job_id, timeout_s=timeout_s):
            if on_event is not None:
                on_event(event)
        job = await self.job(job_id)
        if job.status is JobStatus.FAILURE:
            raise JobFailed(job)
        return job

    async def download(self, image: Artifact | CatalogEntry | str, path: str | os.PathLike[str]) -> Path:
        return await self._run(flows.download(self._retries, image, Path(path)))

    async def cancel(self, job_id: str) -> Job:
        return await self._run(flows.cancel(self._retries, job_id))

    async def retry(
        self, job_id: str, *, idempotency_key: str | None = None, max_credits: int | None = None
    ) -> Accepted:
        return await self._call(calls.retry(job_id, idempotency_key, max_credits))

    async def backgrounds(
        self, *, limit: int = 50, offset: int = 0, **only: "Unpack[BackgroundFilter]"
    ) -> list[CatalogEntry]:
        return await self._call(calls.backgrounds(limit, offset, **only))

    async def background(self, public_id: str) -> CatalogEntry:
        return await self._call(calls.background(public_id))

    async def images(self, *, limit: int = 50, offset: int = 0, **only: "Unpack[CatalogFilter]") -> list[CatalogEntry]:
        return await self._call(calls.images(limit, offset, **only))

    async def image(self, public_id: str) -> CatalogEntry:
        return await self._call(calls.image(public_id))

    async def credits(self) -> Credits:
        return await self._call(calls.CREDITS)

    async def transactions(self, *, kind: str | None = None, limit: int = 50, offset: int = 0) -> TransactionPage:
        return await self._call(calls.transactions(kind, limit, offset))

    async def operations(self) -> list[Operation]:
        return (await self._call(calls.OPERATIONS)).operations

    async def models(self) -> list[Model]:
        return (await self._call(calls.MODELS)).models

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _call(self, call: Call[T]) -> T:
        return await self._run(flows.call(self._retries, call))

    async def _run(self, flow: Flow[T]) -> T:
        with closing(flow):
            async with aclosing(_Exchange(self._http, self._auth)) as exchange:
                result: Any = None
                while not isinstance(step := resume(flow, result), Ended):
                    result = await exchange.do(step)
                value: T = step.value
                return value


class _Exchange:
    """Does the steps of one flow. Holds its stream, if one is open."""

    def __init__(self, http: httpx.AsyncClient, auth: KeyAuth) -> None:
        self._http = http
        self._auth = auth
        self._response: httpx.Response | None = None
        self._pieces: AsyncIterator[bytes] | None = None

    async def do(self, step: Step) -> httpx.Response | bytes | Unreachable | None:
        """Do a step and return its result, or the error that it met."""
        try:
            match step:
                case Pause():
                    await asyncio.sleep(step.seconds)
                    return None
                case Read():
                    return b"" if self._pieces is None else await anext(self._pieces, b"")
                case Send():
                    return await self._send(step)
        except httpx.RequestError as fault:
            return unreachable(fault)

    async def _send(self, step: Send) -> httpx.Response:
        await self.aclose()
        auth = self._auth if step.with_key else None
        response = self._response = await self._http.send(step.build(self._http), auth=auth, stream=True)
        if step.stream and response.is_success:
            self._pieces = response.aiter_bytes()
        else:
            await response.aread()
        return response

    async def aclose(self) -> None:
        if self._response is not None:
            await self._response.aclose()
        self._response, self._pieces = None, None
