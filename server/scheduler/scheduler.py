"""The scheduler: takes jobs, sends their images to the GPUs, follows them, and settles each job in the ledger.

Everything here runs on the server's event loop. A call from a route, or an event of a GPU, first changes the state of jobs,
and then `Feeder.advance` sends what may be sent. Writes go to the ledger in the order in which they are decided, and the
next image is sent before the last one is on disk, so no GPU waits for the disk.
"""

from collections import Counter
from collections.abc import Sequence

from pipelines.model_card import ModelCard
from server.errors import QueueFull
from server.event_hub import EventHub
from server.jobs import Generation, Job, JobStatus
from server.ledger import batch_costs, jobs
from server.ledger.database import Database
from server.ledger.idempotency import Idempotency
from server.ledger.request_log import RequestRow
from server.models_watch import ModelsFile
from server.scheduler.active_jobs import ActiveJobs
from server.scheduler.batch_sizes import BatchSizes
from server.scheduler.bounds import DEFAULT_BOUNDS, Bounds
from server.scheduler.control import Control
from server.scheduler.devices import Device
from server.scheduler.feeding import Feeder
from server.scheduler.kept_cancels import KeptCancels
from server.scheduler.model_loads import ModelLoads
from server.scheduler.pool import Pool
from server.scheduler.queue import Queue
from server.scheduler.readiness import PoolReadiness, readiness
from server.scheduler.reports import Reports
from server.scheduler.settlement import ResultOf, Settlement
from server.settings import Settings


class Scheduler:
    """The queue and the GPUs, as the routes see them."""

    def __init__(
        self,
        settings: Settings,
        models: ModelsFile,
        database: Database,
        hub: EventHub,
        result_of: ResultOf,
        devices: Sequence[Device],
        bounds: Bounds = DEFAULT_BOUNDS,
    ) -> None:
        """Take the devices that the server begins with; all of them serve one queue."""
        self.gpus = Pool(devices, bounds)
        self._settings = settings
        self._models = models
        self._database = database
        self._hub = hub
        self._bounds = bounds
        self._queue = Queue()
        self._settlement = Settlement(database, hub, result_of, settings.previews)
        self._jobs = ActiveJobs(
            self._queue, self.gpus, self._settlement, settings.images, settings.previews, models, bounds.crashes
        )
        self._batch_sizes = BatchSizes(settings.memory_gib)
        self.loads = ModelLoads(models, self._jobs, self._settlement, bounds, self._try_models)
        self._feeder = Feeder(
            self.gpus, self._queue, self._jobs, self._batch_sizes, models, self.loads, bounds.in_flight
        )
        self._reports = Reports(self.gpus, self._jobs, self._feeder, self._settlement, self._batch_sizes, self.loads)
        kept_cancels = KeptCancels(settings.data / "cancelled.txt")
        #: Carries out what the operator decides about the queue.
        self.control = Control(database, self._queue, self._jobs, self._feeder, kept_cancels)
        #: By client, the number of images of jobs whose acceptance is not on disk yet.
        self._committing: Counter[int] = Counter()

    # ── what the routes use ──────────────────────────────────────────────────────────────────────────────────────────

    def readiness(self) -> PoolReadiness:
        """Return what the GPUs can do now."""
        return readiness(self.gpus, self._models.current.default_model, self.loads)

    @property
    def backlog(self) -> int:
        """How many images wait, those of jobs that are being committed included."""
        return len(self._queue) + self._committing.total()

    def check_room(self, client_id: int, images: int) -> None:
        """Raise QueueFull if the queue has no room for this many more images of a client.

        A client of which nothing waits is let in above the limit with one job: others who fill the queue do not shut it out.
        """
        limit = self._settings.queue_limit
        if self.backlog + images <= limit:
            return
        if images > limit or client_id in self._committing or self._queue.has_images_of(client_id):
            raise QueueFull(
                f"{self.backlog} images are waiting, and the queue takes {limit}: there is no room for {images} more;"
                " nothing was charged",
                retry_after=max(1, round(self._reports.paces.last)),
            )

    def estimate(self, client_id: int, priority: int, generations: Sequence[Generation]) -> tuple[int, float]:
        """Guess how many images would go before a new job of this client and priority, and the seconds until its end."""
        position = self._queue.position_behind(client_id, priority)
        return position, self._seconds_for(position, len(generations), generations[0])

    def seconds_until(self, job_id: str) -> float | None:
        """Guess the seconds until the first waiting image of a job is generated; None if none of its images waits."""
        position, generation = self.position(job_id), self._jobs.first_generation(job_id)
        return None if position is None or generation is None else self._seconds_for(position, 1, generation)

    def _seconds_for(self, before: int, images: int, generation: Generation) -> float:
        """Guess the seconds until this many images like this one are generated, after those in flight and `before` others."""
        slots = max(1, sum(gpu.groups.open_slots for gpu in self.gpus))
        rounds, left = divmod(sum(len(gpu.in_flight) for gpu in self.gpus) + before, slots)
        own_rounds = -(-(left + images) // slots)
        paces = self._reports.paces
        own = paces.of(generation.model, generation.width, generation.height)
        # Other models' images run while this one's is held.
        before_s = max(rounds * paces.last, self.loads.held_s(generation.model))
        return round(before_s + own_rounds * own + self._feeder.load_seconds(generation.model), 1)

    async def add(
        self, job: Job, label: str, row: RequestRow, idempotency: Idempotency | None
    ) -> tuple[jobs.Accepted, bool]:
        """Commit a job with `jobs.add`, and queue it. If the caller goes away meanwhile, both still happen.

        Raises what `jobs.add` raises, and QueueFull.
        """
        images = len(job.plan.generations)
        self.check_room(job.client_id, images)
        self._committing[job.client_id] += images

        async def commit() -> tuple[jobs.Accepted, bool]:
            try:
                answer, is_made = await self._database.write(jobs.add, job, label, row, idempotency)
            finally:
                self._committing[job.client_id] -= images
                if not self._committing[job.client_id]:
                    del self._committing[job.client_id]
            if is_made:
                self._hub.publish(job)
                self._jobs.submit(job)
                self._feeder.advance()
            return answer, is_made

        return await self._settlement.finish(commit())

    def position(self, job_id: str) -> int | None:
        """Return how many images go before the first waiting one of a job; None if none of its images waits."""
        return self._jobs.position(job_id)

    def progress(self, job_id: str) -> float:
        """Return how much of a job is done, 0–1. It is 0 for a job that waits, and for one that has ended."""
        return self._jobs.progress(job_id)

    def cancel(self, job_id: str, *, client_gone: bool = False) -> bool:
        """Cancel a job and return whether it ends as cancelled. One that runs ends at its next denoising step.

        `client_gone` says that the client that waited for it went away.
        """
        cancelled = self._jobs.cancel(job_id, client_gone=client_gone)
        self._feeder.advance()
        return cancelled

    async def follow_clock(self) -> None:
        """Send what may be sent because time has passed, until this is cancelled."""
        await self._feeder.follow_clock()

    def load(self, card: ModelCard) -> None:
        """Load a model on every device that is up; one that runs images only prefetches it."""
        for gpu in self.gpus:
            if gpu.is_up:
                self._feeder.load(gpu, card)

    def models_changed(self) -> None:
        """Take up an edit of models.toml. Waiting jobs whose model is gone fail; later images run on the edited cards."""
        self.loads.models_changed()
        self._jobs.models_changed()
        for gpu in self.gpus:
            gpu.unable.clear()
            gpu.refused.clear()
        self._try_models()

    def _try_models(self) -> None:
        self._feeder.models_changed()
        self._feeder.advance()

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Take up the jobs that the last run of the server left, then start the GPU processes."""
        for cost in await self._database.read(batch_costs.known):
            self._batch_sizes.note(cost)
        left = await self._database.read(jobs.unfinished)
        for job, status in left:
            if status is JobStatus.NOT_STARTED or job.awaited:
                self._jobs.submit(job)
            if job.awaited:
                # The connection that waited for it ended with the last run.
                self._jobs.cancel(job.job_id, client_gone=True)
        # Each of these goes before its client's others, so the oldest comes last.
        for job, status in reversed(left):
            if status is JobStatus.IN_PROGRESS and not job.awaited:
                self._jobs.resume(job)
        await self.control.restore()
        self.gpus.start(self._reports)

    async def stop(self) -> None:
        """End the GPU processes. Images that they were generating are generated after the next start."""
        await self.loads.stop()
        await self.gpus.stop()
        self._jobs.stop()
        await self._settlement.drain(self._bounds.stop_s)
