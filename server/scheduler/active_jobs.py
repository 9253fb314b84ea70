"""The jobs that have not ended: which of their images wait, are in a GPU process or are generated, and how each job ends.

A job is in progress once its first image is sent. It succeeds when all of its images are generated. It fails when it is
cancelled, or when one of its images fails for good; its other images are then withdrawn.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from pipelines import protocol
from pipelines.failure_reason import FailureReason, Fault
from pipelines.output import whole_file
from server import metrics
from server.jobs import FailureMode, Generation, Job, image_path
from server.models_watch import ModelsFile
from server.previews import preview_file
from server.scheduler.active_job import ActiveJob, Ending, Image, ImageState
from server.scheduler.batching import SlotGroup
from server.scheduler.gpu import Gpu
from server.scheduler.pool import Pool
from server.scheduler.queue import Affinity, Queue, Waiting
from server.scheduler.recovery import Case, Decision, Happened, decide
from server.scheduler.settlement import Settlement


class ActiveJobs:
    """Owns the state of every job, and of every image, that has not ended."""

    def __init__(
        self,
        queue: Queue,
        gpus: Pool,
        settlement: Settlement,
        images: Path,
        previews: Path,
        models: ModelsFile,
        most_crashes: int,
    ) -> None:
        """Take the folders `images` and `previews`. An image answers for its `most_crashes`-th crash."""
        self._queue = queue
        self._gpus = gpus
        self._settlement = settlement
        self._folder = images
        self._previews = previews
        self._models = models
        self._most_crashes = most_crashes
        self._jobs: dict[str, ActiveJob] = {}
        self._images: dict[str, Image] = {}

    def __iter__(self) -> Iterator[ActiveJob]:
        return iter(self._jobs.values())

    def in_flight(self, image_ids: Iterable[str]) -> list[Image]:
        """Return those of these images that are in flight. A report of progress may come when its image no longer is."""
        found = (self._images.get(image_id) for image_id in image_ids)
        return [image for image in found if image is not None and image.state is ImageState.IN_FLIGHT]

    def position(self, job_id: str) -> int | None:
        """Return how many images go before the first waiting one of a job; None if none of its images waits."""
        job = self._jobs.get(job_id)
        waiting = [] if job is None else job.images_in(ImageState.WAITING)
        places = [self._queue.position(image.image_id) for image in waiting]
        return min((place for place in places if place is not None), default=None)

    def first_generation(self, job_id: str) -> Generation | None:
        """Return what a job generates first; None if it is not here."""
        job = self._jobs.get(job_id)
        return None if job is None else job.images[0].generation

    def progress(self, job_id: str) -> float:
        """Return how much of a job is done, 0–1: the mean over its images. It is 0 for a job that is not here."""
        job = self._jobs.get(job_id)
        return 0.0 if job is None else sum(image.progress for image in job.images) / len(job.images)

    # ── from the ledger to the GPU process ───────────────────────────────────────────────────────────────────────────

    def submit(self, accepted: Job) -> None:
        """Queue the images of a job."""
        self._enqueue(self._add(accepted).images, self._queue.add)

    def resume(self, accepted: Job) -> None:
        """Take up a job that was in progress when the server was killed.

        All of its images run again, before other images of its client. Those that were on disk keep their seeds and are
        overwritten.
        """
        job = self._add(accepted)
        job.in_progress = True
        attempts, most = accepted.attempts, accepted.plan.max_attempts
        case = Case(happened=Happened.SERVER_RESTARTED, attempts_left=attempts < most)
        if decide(case, self._most_crashes) is Decision.FAIL:
            message = f"The server was restarted during attempt {attempts}, the last"
            self._withdraw(job, Ending(FailureReason.SERVER_RESTARTED, message, {"attempts": attempts}))
            self._end_if_over(job)
            return
        extra = {"reason": FailureReason.SERVER_RESTARTED, "attempts": attempts}
        self._settlement.run_again(accepted, "The server was restarted; this runs again", extra)
        self._enqueue(list(reversed(job.images)), self._queue.put_back)

    def move_to_front(self, job_id: str) -> None:
        """Let a job that has not ended go before all others, its images that run again included."""
        job = self._jobs.get(job_id)
        if job is not None:
            job.front = True
            self._queue.move_to_front([image.image_id for image in job.images])

    def begin(self, waiting: Waiting, now: float, gpu: Affinity) -> protocol.Item:
        """Take an image from the queue for a GPU, and return the item to order of its process."""
        self._queue.take(waiting, now, gpu)
        image = self._images[waiting.image_id]
        job = image.job
        before = job.attempts
        image.state = ImageState.IN_FLIGHT
        image.key = waiting.key
        image.taken_back = None
        image.attempts += 1
        if not job.in_progress:
            labels = (job.accepted.plan.model, job.accepted.client_class)
            metrics.job_wait_seconds.labels(*labels).observe(now - job.submitted)
        if not job.in_progress or job.attempts > before:
            job.in_progress = True
            self._settlement.start(job.accepted, job.attempts)
        plan, generation = job.accepted.plan, image.generation
        return protocol.Item(
            image_id=image.image_id,
            seed=generation.seed,
            prompt=generation.prompt,
            negative_prompt=generation.negative_prompt,
            brand_words=generation.brand_words,
            path=str(self._file(image)),
            colors=generation.colors,
            palette=generation.palette,
            evaluate=plan.evaluate,
            deliver_flawed=plan.on_technical_failure is FailureMode.DELIVER,
            preview_path=str(preview_file(self._previews, image.image_id)),
        )

    def take_back(self, gpu: Gpu, group: SlotGroup) -> None:
        """Order a GPU process to drop the images of a slot group, which stay in flight until it reports that it has."""
        # Each image goes back before its client's others, so the oldest is dropped last.
        for image_id in [image_id for image_id in reversed(gpu.in_flight) if image_id in group.images]:
            image = self._images[image_id]
            if image.job.ending is None:
                image.taken_back = group.since
                gpu.cancel(image_id)

    def _add(self, accepted: Job) -> ActiveJob:
        """Take in a job whose images neither wait nor run yet."""
        job = self._jobs[accepted.job_id] = ActiveJob(accepted, time.monotonic())
        for index, generation in enumerate(accepted.plan.generations):
            image_id = accepted.image_id(index)
            image = Image(image_id=image_id, job=job, index=index, generation=generation, attempts=accepted.attempts)
            job.images.append(image)
            self._images[image_id] = image
        return job

    def _enqueue(self, images: Sequence[Image], put: Callable[[Waiting], None]) -> None:
        """Queue images of one job, which begin to wait now."""
        for image in images:
            image.arrived = time.monotonic()
        self._put(images, put)

    def _put(self, images: Sequence[Image], put: Callable[[Waiting], None]) -> None:
        """Queue images of one job, or let the job fail if its model is no longer enabled in models.toml."""
        if not self._has_model(images[0].job):
            self._lose_model(images)
            return
        for image in images:
            job = image.job
            image.state = ImageState.WAITING
            put(
                Waiting(
                    image.image_id,
                    job.accepted.client_id,
                    image.batch_key(self._models.current.enabled[image.generation.model]),
                    image.arrived,
                    image.isolated,
                    job.accepted.priority,
                    job.front,
                    image.lost_s,
                )
            )

    def _file(self, image: Image) -> Path:
        path = image_path(image.job.accepted.job_id, image.index, len(image.job.images))
        return (self._folder / path).absolute()

    def previewed(self, image_id: str, step: int) -> None:
        """Note a preview, which the event of the image's next step will tell of."""
        image = self._images.get(image_id)
        if image is not None and image.state is ImageState.IN_FLIGHT:
            image.preview = step
        else:
            # The GPU process wrote it while the image was being cancelled.
            whole_file.remove(preview_file(self._previews, image_id))

    # ── how a run ends ───────────────────────────────────────────────────────────────────────────────────────────────

    def generated(self, report: protocol.Generated) -> None:
        """Note an image that is on disk. A job ends with its last image."""
        image = self._images[report.image_id]
        image.state = ImageState.GENERATED
        image.progress = 1.0
        image.report = report
        self._end_if_over(image.job)

    def dropped(self, image_id: str) -> None:
        """Note that the GPU process dropped an image as ordered: its job fails, or the server takes it back."""
        image = self._images[image_id]
        image.state = ImageState.IDLE
        if image.job.ending is None:
            # Nothing failed, so the client gets no event and no attempt counts. The next run begins at step 1 again.
            image.progress = 0.0
            image.preview = None
            image.attempts -= 1
            if image.taken_back is not None:
                image.lost_s += time.monotonic() - image.taken_back
            self._settlement.start(image.job.accepted, image.job.attempts)
            self._put([image], self._queue.give_back)
        self._end_if_over(image.job)

    def failed(self, report: protocol.Failed) -> None:
        """Decide on an image that failed by itself."""
        happened = Happened.IMAGE_FAULT if report.fault is Fault.IMAGE else Happened.MACHINE_FAULT
        self.lost([report.image_id], happened, report.reason, report.message)

    def lost(
        self,
        image_ids: Sequence[str],
        happened: Happened,
        reason: FailureReason,
        message: str,
        suspects: Collection[str] | None = None,
    ) -> None:
        """Decide on images whose run came to nothing. If `suspects` is None, each of them is one."""
        images = [self._images[image_id] for image_id in image_ids]
        blamed = set(image_ids if suspects is None else suspects)
        for image in images:
            image.state = ImageState.IDLE
            image.progress = 0.0
            image.preview = None
            image.crashes += happened in (Happened.CRASHED, Happened.KILLED, Happened.DEVICE_LOST)
        # An image that runs again goes before all others of its client, so the oldest one is put back last.
        for image in reversed(images):
            plan = image.job.accepted.plan
            case = Case(
                happened=happened,
                withdrawn=image.job.ending is not None,
                suspect=image.image_id in blamed,
                shared=bool(blamed - {image.image_id}),
                attempts_left=image.attempts < plan.max_attempts,
                crashes=image.crashes,
                mode=plan.on_technical_failure,
            )
            self._carry_out(decide(case, self._most_crashes), image, reason, message)
            self._end_if_over(image.job)

    def _carry_out(self, decision: Decision, image: Image, reason: FailureReason, message: str) -> None:
        match decision:
            case Decision.FAIL:
                self._withdraw(image.job, Ending(reason, message, image.named_in({"attempts": image.attempts})))
            case Decision.RETRY_SAME_SEED:
                self._run_again(image, reason, f"{message}; {image.next_attempt}")
            case Decision.RETRY_NEXT_SEED:
                image.generation = msgspec.structs.replace(image.generation, seed=image.next_seed)
                self._run_again(image, reason, f"{message}; {image.next_attempt}")
            case Decision.REQUEUE:
                image.attempts -= 1
                self._run_again(image, reason, f"{message}; runs again")
            case Decision.ISOLATE:
                image.attempts -= 1
                image.isolated = True
                self._run_again(image, reason, f"{message}; runs again, alone")
            case Decision.END:
                # The job has its reason already, from the cancel or from another image.
                pass

    def _run_again(self, image: Image, reason: FailureReason, message: str) -> None:
        job = image.job
        generations = tuple(each.generation for each in job.images)
        plan = msgspec.structs.replace(job.accepted.plan, generations=generations)
        job.accepted = msgspec.structs.replace(job.accepted, plan=plan, attempts=job.attempts)
        extra = {"reason": reason, "attempts": image.attempts, "seed": image.generation.seed}
        self._settlement.run_again(job.accepted, message, image.named_in(extra))
        self._enqueue([image], self._queue.put_back)

    # ── how a job ends ───────────────────────────────────────────────────────────────────────────────────────────────

    def cancel(self, job_id: str, *, client_gone: bool = False) -> bool:
        """Cancel a job and return whether it ends as cancelled. Images in a GPU process end at their next denoising step.

        `client_gone` says that the client that waited for it went away.
        """
        job = self._jobs.get(job_id)
        if job is None:
            return False
        message = f"Cancelled while {'running' if job.images_in(ImageState.IN_FLIGHT) else 'waiting'}"
        ending = Ending(FailureReason.CANCELLED, message, {})
        if client_gone:
            ending = Ending(FailureReason.CANCELLED, f"{message}: its client went away", {"client_gone": True})
        self._withdraw(job, ending)
        self._end_if_over(job)
        return job.ending is not None and job.ending.reason is FailureReason.CANCELLED

    def waiting_for(self, model: str) -> list[Job]:
        """Return the jobs that have images waiting for a GPU with this model."""
        return [
            job.accepted
            for job in self._jobs.values()
            if job.accepted.plan.model == model and job.images_in(ImageState.WAITING)
        ]

    def give_up(self, model: str, reason: FailureReason, message: str) -> None:
        """Let the jobs fail that have images waiting for a model that cannot be loaded."""
        for job in self.waiting_for(model):
            waiting = [image.image_id for image in self._jobs[job.job_id].images_in(ImageState.WAITING)]
            for image_id in waiting:
                self._queue.remove(image_id)
            self.lost(waiting, Happened.LOAD_GIVEN_UP, reason, message)

    def models_changed(self) -> None:
        """Let the jobs fail that have images waiting for a model that is no longer enabled in models.toml."""
        for job in list(self._jobs.values()):
            waiting = job.images_in(ImageState.WAITING)
            if waiting and not self._has_model(job):
                for image in waiting:
                    self._queue.remove(image.image_id)
                self._lose_model(waiting)

    def stop(self) -> None:
        """End the jobs that are over, and leave the others for the next start: no GPU process will report any more."""
        for job in list(self._jobs.values()):
            # A run that the stop cuts short is no attempt.
            for image in job.images_in(ImageState.IN_FLIGHT):
                image.state = ImageState.IDLE
                image.attempts -= 1
            self._end_if_over(job)
            if job.ending is None and job.in_progress:
                for image in job.images_in(ImageState.GENERATED):
                    image.attempts -= 1
                self._settlement.leave_for_restart(job.accepted, job.attempts)

    def _has_model(self, job: ActiveJob) -> bool:
        return job.accepted.plan.model in self._models.current.enabled

    def _lose_model(self, images: Sequence[Image]) -> None:
        message = f"{images[0].generation.model} is no longer among the enabled models of models.toml"
        ids = [image.image_id for image in images]
        self.lost(ids, Happened.MODEL_REMOVED, FailureReason.MODEL_REMOVED, message)

    def _withdraw(self, job: ActiveJob, ending: Ending) -> None:
        """Let a job fail, unless it fails already: take its images from the queue and from the GPU processes."""
        if job.ending is not None:
            return
        job.ending = ending
        for image in job.images_in(ImageState.WAITING):
            self._queue.remove(image.image_id)
            image.state = ImageState.IDLE
        for image in job.images_in(ImageState.IN_FLIGHT):
            for gpu in self._gpus:
                if image.image_id in gpu.in_flight:
                    gpu.cancel(image.image_id)

    def _end_if_over(self, job: ActiveJob) -> None:
        """End a job if all of its images are generated, or if it fails and none of them is in a GPU process."""
        if job.accepted.job_id not in self._jobs or job.images_in(ImageState.IN_FLIGHT):
            return
        accepted = msgspec.structs.replace(job.accepted, attempts=job.attempts)
        reports = [image.report for image in job.images if image.report is not None]
        if job.ending is not None:
            self._forget(job)
            files = [self._file(image) for image in job.images]
            self._settlement.fail(accepted, job.ending, files, job.submitted)
        elif len(reports) == len(job.images):
            self._forget(job)
            self._settlement.succeed(accepted, reports, job.submitted)

    def _forget(self, job: ActiveJob) -> None:
        del self._jobs[job.accepted.job_id]
        for image in job.images:
            del self._images[image.image_id]
