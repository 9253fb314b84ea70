"""`Client`: the server's API for ordinary code."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

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
from backlot_client.errors import JobFailed, NotConfigured, Unreachable, unreachable
from backlot_client.following import Following
from backlot_client.retries import Retries
from backlot_client.spec import GenerationSpec
from backlot_client.steps import Ended, Flow, Pause, Read, Send, Step, resume

if TYPE_CHECKING:
    from typing_extensions import Unpack  # in `typing` from Python 3.11 on

T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:8700"
USER_AGENT = f"backlot-client/{version('backlot-client')} python-httpx/{httpx.__version__}"


def configured(url: str | None, key: str | None, signing_secret: str | None) -> tuple[str, KeyAuth]:
    """Return the address to use, and the authorisation to send there. Raises NotConfigured."""
    url = url or os.environ.get("BACKLOT_URL") or DEFAULT_URL
    key = key or os.environ.get("BACKLOT_KEY")
    signing_secret = signing_secret or os.environ.get("BACKLOT_SIGNING_SECRET") or None
    try:
        parts = urlsplit(url)
        # Reading the port checks it.
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise NotConfigured(f"{url!r} is no address of a server; BACKLOT_URL takes one such as {DEFAULT_URL}")
    if not key:
        raise NotConfigured("There is no key; set BACKLOT_KEY to one that the server's operator gave you")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise NotConfigured("The key has characters that no key has; copy it again, without spaces or line breaks")
    return url, KeyAuth(key, signing_secret)


class Client:
    """One client's view of a server. Safe to share between threads; close it, or use it in a `with`.

    The address is `url`, or BACKLOT_URL, or this machine's port 8700; the key is `key` or BACKLOT_KEY. With `signing_secret`
    or BACKLOT_SIGNING_SECRET every request is signed. Every method raises the errors of `backlot_client.errors`. Calls are
    repeated on faults that pass, as `retries` says, without paying twice.
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
        self._http = httpx.Client(base_url=url, headers={"User-Agent": USER_AGENT})

    def submit(
        self, spec: GenerationSpec, *, idempotency_key: str | None = None, max_credits: int | None = None
    ) -> Accepted:
        """Take the spec's price and make its job.

        The same idempotency key and spec within 24 hours give the first answer again and charge once, also if that job has
        failed since. Without a key given, each call has its own. Raises Invalid, InsufficientBalance, and Conflict if the key
        was used with another spec or the price is above `max_credits`.
        """
        return self._call(calls.submit(spec, idempotency_key, max_credits))

    def submit_body(self, path: str, body: bytes, idempotency_key: str) -> Accepted:
        """Submit the JSON of a spec, as `submit` does: a body that was kept can be sent again byte for byte."""
        return self._call(calls.submit_body(path, body, idempotency_key))

    def estimate(self, spec: GenerationSpec) -> Estimate:
        """Check the spec and return what it would cost; make no job, take no credits. Raises what `submit` does."""
        return self._call(calls.estimate(spec))

    def job(self, job_id: str) -> Job:
        """Return a job. Raises NotFound if this client does not have it."""
        return self._call(calls.job(job_id))

    def jobs(self, *, limit: int = 50, offset: int = 0, **only: "Unpack[JobFilter]") -> JobPage:
        """Return a page of 1–200 jobs, newest first, of those that `JobFilter` lets through."""
        return self._call(calls.jobs(limit, offset, **only))

    def whole_jobs(self, *, limit: int = 50, offset: int = 0, **only: "Unpack[JobFilter]") -> WholeJobPage:
        """Return the page that `jobs` does, with each job as `job` gives it."""
        return self._call(calls.whole_jobs(limit, offset, **only))

    def events(self, job_id: str, *, since: int = 0, wait_s: float = 0) -> EventPage:
        """Return the events after number `since`; if there are none yet, wait up to 30 seconds for some."""
        return self._call(calls.events(job_id, since, wait_s))

    def follow(self, job_id: str, *, since: int = 0, timeout_s: float | None = None) -> Iterator[JobEvent]:
        """Give each event after number `since` once and in order, as it happens, up to the job's last.

        Goes on after broken connections and restarts of the server. Raises WaitTimeout after `timeout_s`.
        """
        flow = Following(self._retries, job_id, since, timeout_s).events()
        with closing(flow), closing(_Exchange(self._http, self._auth)) as exchange:
            result: Any = None
            while not isinstance(step := resume(flow, result), Ended):
                if isinstance(step, JobEvent):
                    yield step
                    result = None
                else:
                    result = exchange.do(step)

    def wait(
        self, job_id: str, *, timeout_s: float | None = None, on_event: Callable[[JobEvent], object] | None = None
    ) -> Job:
        """Return the job once it has succeeded; call `on_event` for each event until then.

        Raises JobFailed if it fails, WaitTimeout after `timeout_s`.
        """
        for event in self.follow(job_id, timeout_s=timeout_s):
            if on_event is not None:
                on_event(event)
        job = self.job(job_id)
        if job.status is JobStatus.FAILURE:
            raise JobFailed(job)
        return job

    def download(self, image: Artifact | CatalogEntry | str, path: str | os.PathLike[str]) -> Path:
        """Write an image, or the one that a link leads to, to `path`. The file appears there whole or not at all.

        Raises Forbidden if the link has expired (read the job or the entry again for a new one), NotFound if the image was
        deleted.
        """
        return self._run(flows.download(self._retries, image, Path(path)))

    def cancel(self, job_id: str) -> Job:
        """End the job and get its credits back. Raises Conflict if it had ended otherwise before."""
        return self._run(flows.cancel(self._retries, job_id))

    def retry(self, job_id: str, *, idempotency_key: str | None = None, max_credits: int | None = None) -> Accepted:
        """Make a new job of the spec of one that failed, at the present price.

        Raises Conflict if the job has not failed or the price is above `max_credits`, NotFound, InsufficientBalance.
        """
        return self._call(calls.retry(job_id, idempotency_key, max_credits))

    def backgrounds(
        self, *, limit: int = 50, offset: int = 0, **only: "Unpack[BackgroundFilter]"
    ) -> list[CatalogEntry]:
        """Return 1–200 backgrounds of the catalogue, newest first, of those that `BackgroundFilter` lets through."""
        return self._call(calls.backgrounds(limit, offset, **only))

    def background(self, public_id: str) -> CatalogEntry:
        """Return a background. Raises NotFound if this client's catalogue does not have it."""
        return self._call(calls.background(public_id))

    def images(self, *, limit: int = 50, offset: int = 0, **only: "Unpack[CatalogFilter]") -> list[CatalogEntry]:
        """Return 1–200 pictures of image generations, newest first, of those that `CatalogFilter` lets through."""
        return self._call(calls.images(limit, offset, **only))

    def image(self, public_id: str) -> CatalogEntry:
        """Return a picture of the catalogue. Raises NotFound if this client's catalogue does not have it."""
        return self._call(calls.image(public_id))

    def credits(self) -> Credits:
        return self._call(calls.CREDITS)

    def transactions(self, *, kind: str | None = None, limit: int = 50, offset: int = 0) -> TransactionPage:
        """Return 1–200 transactions, newest first. `kind` is `spend` or `purchases`."""
        return self._call(calls.transactions(kind, limit, offset))

    def operations(self) -> list[Operation]:
        """Return the operations that the server offers, with their prices."""
        return self._call(calls.OPERATIONS).operations

    def models(self) -> list[Model]:
        return self._call(calls.MODELS).models

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(self, call: Call[T]) -> T:
        return self._run(flows.call(self._retries, call))

    def _run(self, flow: Flow[T]) -> T:
        with closing(flow), closing(_Exchange(self._http, self._auth)) as exchange:
            result: Any = None
            while not isinstance(step := resume(flow, result), Ended):
                result = exchange.do(step)
            value: T = step.value
            return value


class _Exchange:
    """Does the steps of one flow. Holds its stream, if one is open."""

    def __init__(self, http: httpx.Client, auth: KeyAuth) -> None:
        self._http = http
        self._auth = auth
        self._response: httpx.Response | None = None
        self._pieces: Iterator[bytes] = iter(())

    def do(self, step: Step) -> httpx.Response | bytes | Unreachable | None:
        """Do a step and return its result, or the error that it met."""
        try:
            match step:
                case Pause():
                    time.sleep(step.seconds)
                    return None
                case Read():
                    return next(self._pieces, b"")
                case Send():
                    return self._send(step)
        except httpx.RequestError as fault:
            return unreachable(fault)

    def _send(self, step: Send) -> httpx.Response:
        self.close()
        auth = self._auth if step.with_key else None
        response = self._response = self._http.send(step.build(self._http), auth=auth, stream=True)
        if step.stream and response.is_success:
            self._pieces = response.iter_bytes()
        else:
            response.read()
        return response

    def close(self) -> None:
        if self._response is not None:
            self._response.close()
        self._response, self._pieces = None, iter(())
