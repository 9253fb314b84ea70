"""`POST /v1/images/generations`: the workflow `image-generation` as OpenAI's clients know it. It waits for the images."""

import asyncio
import base64
import time
from collections.abc import Awaitable
from math import log
from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, Response, post
from litestar.di import NamedDependency
from msgspec import Meta

from pipelines.aspect_ratios import RATIOS, ratio_of, side_of
from pipelines.model_card import ModelCard
from server.api.bodies import read_body
from server.api.errors import CLIENT_GONE, response_parts
from server.api.job_reader import JobReader
from server.api.links import LinkKind
from server.api.openapi import answer
from server.api.request_log import record_of
from server.api.workflows import IDEMPOTENCY_KEY, MAX_CREDITS, submission_of
from server.errors import GenerationFailed, Invalid, ResourceNotFound, ServerStopping
from server.jobs import JobStatus
from server.ledger import artifacts
from server.ledger.artifacts import ArtifactRow
from server.ledger.clients import Caller
from server.ledger.job_reads import JobDetail
from server.models_file import Models
from server.settings import Settings
from server.validation import Problem
from server.workflows.image import IMAGE_GENERATION, MAX_IMAGES
from server.workflows.intake import Intake
from server.workflows.spec import MAX_NEGATIVE, MAX_SEED

#: The values that a field of OpenAI's may have if this server does not follow it: they ask for nothing.
_NEUTRAL = (None, "auto", "default", "png", False, 0)
_LONGER_THAN_ANY_JOB_S = 365 * 86_400.0


class ImagesBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """OpenAI's fields, and `seed` and `negative_prompt` of this server. Those of type `any` must be neutral."""

    prompt: str
    model: Annotated[str | None, Meta(description="A model of GET /v1/models; null is the default")] = None
    n: Annotated[int, Meta(ge=1, le=MAX_IMAGES)] | None = None
    size: Annotated[
        str | None, Meta(description="`auto` or `WxH`: the nearest size that the model renders", examples=["1024x1024"])
    ] = None
    response_format: Literal["url", "b64_json"] | None = None
    seed: Annotated[int, Meta(ge=0, le=MAX_SEED)] | None = None
    negative_prompt: Annotated[str, Meta(max_length=MAX_NEGATIVE)] | None = None
    background: Any = None
    input_fidelity: Any = None
    moderation: Any = None
    output_compression: Any = None
    output_format: Any = None
    partial_images: Any = None
    quality: Any = None
    stream: Any = None
    style: Any = None
    user: Any = None


#: Fields of OpenAI's that this server does not follow.
_UNFOLLOWED = [field.name for field in msgspec.structs.fields(ImagesBody) if field.type is Any]
#: Fields that have another name in the workflow's spec.
_RENAMED: dict[str | int, str] = {"image_model": "model", "resolution": "size", "aspect_ratio": "size"}


class ImageData(msgspec.Struct, frozen=True, omit_defaults=True):
    revised_prompt: str
    url: str | None = None
    b64_json: str | None = None


class Images(msgspec.Struct, frozen=True):
    #: Seconds since 1970.
    created: int
    data: list[ImageData]
    job_id: str


class OpenAIErrorBody(msgspec.Struct, frozen=True):
    message: str
    type: str
    code: str
    param: str | None
    request_id: str


class OpenAIError(msgspec.Struct, frozen=True):
    error: OpenAIErrorBody


def error_response(request: Request[Any, Any, Any], error: Exception) -> Response[OpenAIError]:
    """Return what OpenAI's clients expect of an exception; status, code and message are those of every other route."""
    parts = response_parts(request, error)
    problems = [
        msgspec.structs.replace(problem, loc=tuple(_RENAMED.get(part, part) for part in problem.loc))
        for problem in parts.problems
    ]
    message = str(Invalid(problems)) if problems else parts.message
    param = next((str(problem.loc[1]) for problem in problems if len(problem.loc) > 1), None)
    kinds = {402: "insufficient_quota", 429: "rate_limit_error"}
    kind = kinds.get(parts.status, "server_error" if parts.status >= 500 else "invalid_request_error")
    body = OpenAIError(OpenAIErrorBody(message, kind, parts.code, param, parts.request_id))
    return Response(body, status_code=parts.status, headers=parts.headers, media_type="application/json")


@post(
    "/images/generations",
    status_code=200,
    exception_handlers={Exception: error_response},
    operation_id="createImages",
    summary="Generate images as OpenAI's clients ask for them",
    tags=["workflows"],
    responses={
        200: answer(Images, "The images, all of them"),
        **dict.fromkeys(
            (401, 402, 403, 404, 409, 413, 422, 429, 500, 503),
            answer(OpenAIError, "As on other routes, in OpenAI's shape"),
        ),
    },
)
async def create_images(
    request: Request[Caller, Any, Any],
    models: NamedDependency[Models],
    settings: NamedDependency[Settings],
    intake: NamedDependency[Intake],
    reader: NamedDependency[JobReader],
    idempotency_key: IDEMPOTENCY_KEY = None,
    max_credits: MAX_CREDITS = None,
) -> Response[Any]:
    """Wait for the job and return its images. If the client goes away first, cancel the job and give its credits back.

    A stop or a kill of the server does the same, unless the request has an idempotency key: then a repetition finds the job.
    A repetition whose job was cancelled because the client had gone away makes another job.
    """
    body = await request.body()
    wanted = await read_body(request, ImagesBody, _own_problems)
    path, awaited = "/v1/images/generations", idempotency_key is None
    spec = _spec(wanted, models)
    submission = submission_of(request, path, body, spec, idempotency_key, max_credits, awaited=awaited)
    while True:
        accepted, is_made = await intake.accept(IMAGE_GENERATION, submission)
        # The transaction of the job wrote the request's row, which is written again with the answer.
        job_id = record_of(request.scope).job_id = accepted.job_id
        ended = await _unless_gone(request, reader.detail_when_ended(request.user, job_id, _LONGER_THAN_ANY_JOB_S))
        if is_made or ended is None or not _was_left(ended):
            break
        # The client had left its first request, whose job was ending as this repetition came: make another job.
    if ended is None:
        # Leave the job alone if an earlier request made it, or if a repetition waits for it.
        if is_made and (idempotency_key is None or not reader.hub.is_followed(job_id)):
            reader.scheduler.cancel(job_id, client_gone=True)
        return Response(None, status_code=CLIENT_GONE)
    if not ended.summary.status.ended:
        # Clients try again by themselves. Without a key that makes another job, and the client should not pay for both.
        if idempotency_key is None and reader.scheduler.cancel(job_id):
            raise ServerStopping(f"The server is stopping; job {job_id} was cancelled and nothing is charged")
        raise ServerStopping(f"The server is stopping; job {job_id} goes on when it is back")
    if ended.summary.status is JobStatus.FAILURE:
        event = ended.latest_event
        raise GenerationFailed(f"Job {job_id} failed: {event.message if event else 'see its events'}")
    data = [await _data(artifact, wanted, reader, settings) for artifact in ended.artifacts]
    return Response(Images(int(time.time()), data, job_id))


def _own_problems(values: dict[str, Any]) -> list[Problem]:
    problems = []
    for name in _UNFOLLOWED:
        if values.get(name) not in _NEUTRAL:
            sent = msgspec.json.encode(values[name]).decode()[:40]
            message = f"{name} = {sent} is not followed by this server; leave it out"
            problems.append(Problem((name,), "value_error", message))
    size = values.get("size")
    if size not in (None, "auto") and _dimensions(size) is None:
        message = f"{size[:40]!r} is not a size: write auto, or WxH such as 1024x1024"
        problems.append(Problem(("size",), "value_error", message))
    return problems


def _spec(wanted: ImagesBody, models: Models) -> dict[str, Any]:
    """Return the workflow's spec, which the workflow checks like any other."""
    spec: dict[str, Any] = {"prompt": wanted.prompt, "n": wanted.n or 1, "seed": wanted.seed}
    if wanted.negative_prompt is not None:
        spec["negative_prompt"] = wanted.negative_prompt
    if wanted.model is not None:
        spec["image_model"] = wanted.model
    card = models.enabled.get(wanted.model or models.default_model)
    size = _dimensions(wanted.size)
    if card is not None and size is not None:
        spec["resolution"], spec["aspect_ratio"] = nearest_size(card, *size)
    return spec


def _dimensions(size: str | None) -> tuple[int, int] | None:
    """Return width and height of `WxH`, each 1 … 99999; None for anything else."""
    parts = (size or "").split("x")
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() and 1 <= len(part) <= 5 for part in parts):
        return None
    width, height = (int(part) for part in parts)
    return (width, height) if width and height else None


def nearest_size(card: ModelCard, width: int, height: int) -> tuple[str, str]:
    """Return the tier of the card and the aspect ratio that are nearest to a size, both on a logarithmic scale."""
    tier = min(card.tiers, key=lambda tier: abs(log(side_of(tier) ** 2 / (width * height))))
    ratio = min(RATIOS, key=lambda ratio: abs(log(ratio_of(ratio) / (width / height))))
    return tier, ratio


def _was_left(ended: JobDetail) -> bool:
    """Return whether a job ended because the client that waited for it went away."""
    return ended.latest_event is not None and "client_gone" in ended.latest_event.extra


async def _unless_gone(request: Request[Any, Any, Any], work: Awaitable[JobDetail]) -> JobDetail | None:
    """Return what the work returns; None if the client went away first."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        leaving.cancel()
        # When this returns, the work no longer follows its job.
        await asyncio.wait({working, leaving})


async def _data(artifact: ArtifactRow, wanted: ImagesBody, reader: JobReader, settings: Settings) -> ImageData:
    """Return an image as the request wants it. Raises ResourceNotFound if it was removed, perhaps before a repetition."""
    gone = ResourceNotFound(
        f"The image {artifact.public_id} was removed since it was made; for another one send another Idempotency-Key"
    )
    prompt = str(artifact.meta["prompt"])
    if artifact.removed:
        raise gone
    if wanted.response_format != "b64_json":
        return ImageData(prompt, url=reader.linker.url(LinkKind.IMAGE, artifact.public_id))
    file = await reader.database.read(artifacts.image_file, artifact.public_id)
    if file is None:
        raise gone
    try:
        png = await asyncio.to_thread((settings.images / file.path).read_bytes)
    except FileNotFoundError:
        raise gone from None
    return ImageData(prompt, b64_json=base64.b64encode(png).decode())


ROUTES = [create_images]
