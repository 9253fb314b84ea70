"""Flows that may take more than one request: a call with its retries, a cancellation, a download."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import httpx
import msgspec

from backlot_client import calls
from backlot_client.answers import Artifact, CatalogEntry, Job
from backlot_client.calls import GRACE_S, Call
from backlot_client.errors import (
    BacklotError,
    Conflict,
    IncompleteDownload,
    NotFound,
    error_of,
    unexpected_answer,
)
from backlot_client.partial_file import PartialFile
from backlot_client.retries import Retries
from backlot_client.steps import ANSWER_S, Flow, Pause, Read, Send
from backlot_client.stopwatch import Stopwatch

T = TypeVar("T")


def call(retries: Retries, wanted: Call[T]) -> Flow[T]:
    """Return the call's answer. Raises ApiError, Unreachable, UnexpectedAnswer."""
    send = Send(
        wanted.method,
        wanted.path,
        params=wanted.params,
        headers=wanted.headers,
        content=wanted.body,
        read_timeout_s=wanted.wait_s + (GRACE_S if wanted.wait_s else ANSWER_S),
    )
    response = yield from repeated(retries, lambda: once(send))
    try:
        return msgspec.json.decode(response.content, type=wanted.answer)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise unexpected_answer(response, str(error)) from error


def repeated(retries: Retries, attempt: Callable[[], Flow[T]]) -> Flow[T]:
    """Run a flow again while its errors pass, and return what it returns. Raises its last error."""
    watch = Stopwatch()
    tries = 0
    while True:
        tries += 1
        try:
            return (yield from attempt())
        except BacklotError as error:
            yield Pause(pause_or_raise(retries, error, tries, watch))


def once(send: Send) -> Flow[httpx.Response]:
    """Send once and return the response, a 2xx. Raises ApiError, Unreachable, UnexpectedAnswer."""
    response: httpx.Response = yield send
    if response.is_success:
        return response
    raise error_of(response)


def pause_or_raise(retries: Retries, error: BacklotError, tries: int, watch: Stopwatch) -> float:
    """Return the seconds until the next try after this error. Raises the error if it does not pass or no time is left."""
    if not error.passes:
        raise error
    seconds = retries.pause(tries, watch.elapsed_s(), error.retry_after_s, random.random())  # noqa: S311
    if seconds is None:
        raise error
    return seconds


def cancel(retries: Retries, job_id: str) -> Flow[Job]:
    """Cancel a job and return it. A job that was cancelled before is no error."""
    try:
        return (yield from call(retries, calls.cancel(job_id)))
    except Conflict:
        job = yield from call(retries, calls.job(job_id))
        if job.failure_reason == "cancelled":
            return job
        raise


def download(retries: Retries, image: Artifact | CatalogEntry | str, path: Path) -> Flow[Path]:
    """Write the image to `path` and return it; the file appears there whole or not at all.

    Unless `image` is a link, the file of a finished picture is a copy that names its job.
    Raises IncompleteDownload, ApiError (Forbidden if the link has expired), Unreachable, OSError.
    """
    link = image if isinstance(image, str) else image.image_url
    if link is None:
        raise NotFound("This picture was deleted from the server", code="IMAGE_DELETED", status=404)
    is_finished = isinstance(image, CatalogEntry) or (isinstance(image, Artifact) and image.role == "final")
    if is_finished:
        link += "&save=true"
    # The link needs no key, and may lead to another host, which must not see it.
    send = Send("GET", link, headers={"Accept-Encoding": "identity"}, stream=True, with_key=False)
    return (yield from repeated(retries, lambda: _saved(send, path)))


def _saved(send: Send, path: Path) -> Flow[Path]:
    response = yield from once(send)
    announced = response.headers.get("Content-Length")
    with PartialFile(path) as file:
        while piece := (yield Read()):
            file.write(piece)
        if announced is not None and "Content-Encoding" not in response.headers and file.size != int(announced):
            raise IncompleteDownload(f"{path.name} has {announced} bytes, but {file.size} arrived")
        file.keep()
    return path
