"""Turns what a GPU process reports of images in flight into their progress and the events of their jobs."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from pipelines import protocol
from pipelines.failure_reason import FailureReason
from pipelines.hub.messages import Progress
from pipelines.protocol import Stage
from server.clock import as_text
from server.downloading import amount
from server.jobs import Job
from server.scheduler.active_job import Image
from server.scheduler.settlement import StageEvent

#: The share of an image's progress that its denoising makes up.
DENOISED = 0.9
#: An image's progress when it reaches these stages.
PROGRESS = {Stage.LOADING: 0.0, Stage.DECODING: DENOISED, Stage.EVALUATING: 0.95}


def denoised(images: Iterable[Image], report: protocol.Steps) -> list[StageEvent]:
    """Note the progress of images by their denoising steps, and return an event for each step."""
    by_id = {image.image_id: image for image in images}
    events = []
    for done in report.done:
        image = by_id.get(done.image_id)
        if image is None:
            continue
        image.progress = DENOISED * done.step / report.steps
        moment = as_text(datetime.fromtimestamp(done.at, UTC))
        extra = {"step": done.step, "steps": report.steps}
        if image.preview is not None:
            # A preview may be a step or two behind. It is told with the next step, so that clients see steps only ascend.
            extra["preview"], image.preview = image.preview, None
        events.append(_event(image, Stage.DENOISING, f"Step {done.step} of {report.steps}", extra, moment))
    return events


def reached(images: Iterable[Image], report: protocol.StageReached) -> list[StageEvent]:
    """Note the progress of images by a stage that they reached, and return an event for each image."""
    events = []
    for image in images:
        image.progress = PROGRESS.get(report.stage, image.progress)
        if report.stage is Stage.LOADING:
            model = image.generation.model
            events.append(_event(image, report.stage, f"Loading {model}", {"model": model}))
        else:
            events.append(_event(image, report.stage, report.stage.capitalize(), {}))
    return events


def restarted(images: Iterable[Image], report: protocol.Restarted) -> list[StageEvent]:
    """Note that images begin again in the GPU process, and return an event for each image."""
    events = []
    for image in images:
        image.progress = 0.0
        image.preview = None
        extra = {"reason": report.reason, "attempts": image.attempts, "seed": image.generation.seed}
        events.append(_event(image, Stage.RETRYING, report.message, extra))
    return events


def downloading(jobs: Iterable[Job], model: str, told: Progress) -> list[StageEvent]:
    """Return an event for each job that waits for a model that is being downloaded."""
    extra = {"model": model, "bytes": told.done_bytes, "total_bytes": told.total_bytes, "bytes_per_s": told.bytes_per_s}
    message = f"Downloading {model}: {amount(told)}"
    return [StageEvent(job, Stage.LOADING, message, extra) for job in jobs]


def held(jobs: Iterable[Job], reason: FailureReason, message: str) -> list[StageEvent]:
    """Return an event for each job that waits for a model whose load failed and will be tried again."""
    return [StageEvent(job, Stage.RETRYING, message, {"reason": reason}) for job in jobs]


def _event(image: Image, stage: Stage, message: str, extra: dict[str, Any], moment: str | None = None) -> StageEvent:
    return StageEvent(image.job.accepted, stage, message, image.named_in(extra), moment)
