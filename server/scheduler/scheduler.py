"""Takes jobs from the queue, sends them into the slots of the GPU process, follows them, and settles each.

Everything here runs on the server's event loop, so a job is in exactly one place: waiting in the queue, running in the
GPU process, or ended in the ledger. Writes go to the ledger in the order they are decided; the next image is sent
before the last one is on disk, so the GPU does not wait for the disk.
"""

import asyncio
import logging
import signal
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from pipelines import protocol
from pipelines.batch_choice import Measurement, SizeKey, Sizes
from pipelines.model_card import ModelCard
from server import metrics
from server.clock import as_text
from server.jobs import EventType, FailureMode, Job, JobStatus, image_path
from server.ledger import batch_costs as measurements
from server.ledger import events, jobs
from server.ledger.catalog import Delivery
from server.ledger.database import Database
from server.models_file import Models
from server.models_watch import ModelsFile
from server.scheduler.events import EventHub
from server.scheduler.process import Worker
from server.scheduler.queue import BatchKey, Queue, Waiting
from server.settings import Settings

log = logging.getLogger(__name__)

#: A job and what the GPU process says of its images, to what is kept of them.
Deliver = Callable[[Job, Sequence[protocol.Imaged]], Delivery]
WorkerState = Literal["starting", "ready", "loading", "running", "restarting", "stopped"]

#: Seconds before a GPU process that died is started again: doubled for each death without a batch done.
RESTART_S = (0.0, 1.0, 60.0)
#: Seconds the GPU process has to import torch and find its device.
START_TIMEOUT_S = 300.0


#: Seconds an image may take from its slot to the disk.
WRITE_TIMEOUT_S = 300.0
#: Seconds that writes still under way may hold up a stop; they are tried again after the next start.
STOP_TIMEOUT_S = 20.0
#: Images sent beyond the open slots, so that a slot that frees is filled without asking.
AHEAD = 1
#: Images that may be in the GPU process at once, those being written included.
MOST_RUNNING = 256
#: Deaths of the GPU process at which a job may be there, in no place to have caused one, before it is to blame all the same.
MOST_DEATHS = 5


class Running(msgspec.Struct):
    """A job in the GPU process."""

    job: Job
    progress: float = 0.0
    #: A cancel was accepted: whatever the GPU process says of it now, it ends as cancelled.
    cancelled: bool = False
    #: Ends the GPU process where the image, out of its slot, is not written in time.
    write_limit: asyncio.TimerHandle | None = None


class Turn(msgspec.Struct):
    """Slots of one model, size and shape, open or about to be."""

    key: BatchKey
    card: ModelCard
    shape: int
    #: Jobs sent that have not left their slot.
    jobs: set[str] = msgspec.field(default_factory=set)
    #: Nothing enters any more: other jobs must have their turn, or more slots are worth opening.
    closing: bool = False


class Scheduler:
    def __init__(
        self,
        settings: Settings,
        models: ModelsFile,
        database: Database,
        hub: EventHub,
        first_worker: Worker,
        deliver: Deliver,
    ) -> None:
        self._deliver = deliver
        self.settings = settings
        self.models_file = models
        self.database = database
        self.hub = hub
        self.state: WorkerState = "stopped"
        #: What stands in the way of each model that could not be loaded.
        self.load_errors: dict[str, str] = {}
        #: Models in memory and their revisions.
        self.resident: dict[str, str] = {}
        self.device: protocol.Started | None = None
        self.deaths = 0
        self.sizes = Sizes()
        self._queue = Queue()
        self._waiting: dict[str, Job] = {}
        self._arrived: dict[str, float] = {}
        self._running: dict[str, Running] = {}
        #: The open slots, and those that open when they are empty: at most two.
        self._turns: list[Turn] = []
        self._first_worker: Worker | None = first_worker
        self._worker: Worker | None = None
        #: The model that the GPU process is loading.
        self._loading: str | None = None
        #: Why the GPU process was ended, by reason and message, and the job it was ended for where it is known.
        self._killed_for: tuple[str, str, str | None] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._restart: asyncio.TimerHandle | None = None
        self._settling: set[asyncio.Task[Any]] = set()
        self._reserved = 0
        self._job_seconds = 1.0

    # ── what the routes use ──────────────────────────────────────────────────────────────────────────────────────────

    @property
    def models(self) -> Models:
        return self.models_file.current

    @property
    def backlog(self) -> int:
        """Jobs waiting, and those about to be committed."""
        return len(self._queue) + self._reserved

    @property
    def is_full(self) -> bool:
        return self.backlog >= self.settings.queue_limit

    def estimate(self, images: int) -> tuple[int, float]:
        """Guess how many jobs would go before a new one of so many images, and the seconds until its end."""
        return self.backlog, round((self.backlog + len(self._running) + images) * self._job_seconds, 1)

    @property
    def retry_after(self) -> int:
        """Seconds until there is likely to be room in the queue."""
        return max(1, round(self._job_seconds))

    def reserve(self) -> bool:
        """Hold a place in the queue while its job is being committed; False where the queue is full."""
        if self.is_full:
            return False
        self._reserved += 1
        return True

    def release(self) -> None:
        """Give back a reserved place: its job is in the queue now, or was never made."""
        self._reserved -= 1

    async def dispatch(
        self, write: Callable[[Any], tuple[jobs.Accepted, Job | None]]
    ) -> tuple[jobs.Accepted, Job | None]:
        """Commit a job and queue it. Where the caller goes away meanwhile, both still happen."""
        task = asyncio.ensure_future(self._dispatch(write))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)
        return await asyncio.shield(task)

    async def _dispatch(
        self, write: Callable[[Any], tuple[jobs.Accepted, Job | None]]
    ) -> tuple[jobs.Accepted, Job | None]:
        accepted, job = await self.database.write(write)
        if job is not None:
            self.submit(job)
        return accepted, job

    def submit(self, job: Job) -> None:
        """Queue a job that the ledger holds."""
        self._arrived.setdefault(job.job_id, time.monotonic())
        self._wait_for_turn(job, self._queue.add)
        self._pump()

    def position(self, job_id: str) -> int | None:
        return self._queue.position(job_id)

    def progress(self, job_id: str) -> float:
        """0–1; 0 while waiting."""
        running = self._running.get(job_id)
        return 0.0 if running is None else running.progress

    async def cancel(self, job_id: str) -> bool:
        """Cancel a job that has not ended; False where it is not here. A running one ends at its next denoising step."""
        if self._queue.remove(job_id):
            job = self._waiting.pop(job_id)
            self._note_depth()
            await self._fail(job, "cancelled", "Cancelled while waiting")
            return True
        running = self._running.get(job_id)
        if running is None or self._worker is None:
            return False
        if not running.cancelled:
            running.cancelled = True
            self._worker.send(protocol.Cancel(job_id))
        return True

    @property
    def reason_not_ready(self) -> str | None:
        """Why nothing could be generated now; None where the default model is in memory or another one serves."""
        if self.resident and self.state in ("ready", "running", "loading"):
            return None
        default = self.models.default_model
        if default in self.load_errors:
            return f"{default} could not be loaded: {self.load_errors[default]}"
        if self.state == "restarting":
            times = "once" if self.deaths == 1 else f"{self.deaths} times in a row"
            return f"the GPU process died {times} and is started again; its log, {self._log}, says why"
        return f"the GPU process is {self.state}"

    @property
    def _log(self) -> Path:
        return self.settings.logs / "gpu-process.log"

    def models_changed(self) -> None:
        """models.toml was edited: jobs whose model is gone fail; the others run on what it says now."""
        gone = [job for job in self._waiting.values() if job.plan.model not in self.models.enabled]
        for job in gone:
            self._queue.remove(job.job_id)
            del self._waiting[job.job_id]
            self._fail_removed(job)
        self.load_errors.clear()
        for turn in self._turns:
            # Images on their way finish on what they began with; later ones run on the new card.
            turn.closing = turn.closing or self.models.enabled.get(turn.key.model) != turn.card
        self._pin()
        self._note_depth()
        self._pump()
        if self.device is not None:
            self._load_default()

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Take up the jobs that the last run of the server left, then the GPU process."""
        self.sizes = Sizes(await self.database.read(measurements.known))
        left = await self.database.read(jobs.unfinished)
        for job, status in left:
            if status is JobStatus.NOT_STARTED:
                self.submit(job)
        # Each of these goes before all others, so the oldest comes last.
        for job, status in reversed(left):
            if status is JobStatus.NOT_STARTED:
                continue
            if job.attempts < job.plan.max_attempts:
                self._run_again(job, "server_restarted", "The server was restarted; this runs again")
            else:
                await self._fail(
                    job, "server_restarted", f"The server was restarted during attempt {job.attempts}, the last"
                )
        self._start_worker()

    async def stop(self) -> None:
        """End the GPU process; what it was running waits for the next start."""
        self.state = "stopped"
        for timer in (self._deadline, self._restart):
            if timer is not None:
                timer.cancel()
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.kill()
            await asyncio.to_thread(worker.wait, 10)
        if self._settling:
            _, pending = await asyncio.wait(self._settling, timeout=STOP_TIMEOUT_S)
            for task in pending:
                task.cancel()
        for running in self._running.values():
            if running.write_limit is not None:
                running.write_limit.cancel()
            if running.cancelled:
                await self._fail(running.job, "cancelled", "Cancelled while running")
        unsettled = [job_id for job_id, running in self._running.items() if not running.cancelled]
        if unsettled:
            await self.database.write(lambda connection: jobs.put_back(connection, unsettled))

    def _start_worker(self) -> None:
        self.state = "starting"
        self.device = None
        self._killed_for = None
        metrics.worker_starts.inc()
        settings = self.settings
        first, self._first_worker = self._first_worker, None
        try:
            self._worker = first or Worker(settings.device, settings.memory_gib, settings.logs)
        except OSError:
            log.exception("The GPU process could not be started")
            self.deaths += 1
            self._start_again()
            return
        self._worker.follow(self._on_report, self._on_death)
        log.info("GPU process %d started", self._worker.pid)
        self._watch(START_TIMEOUT_S, "start_timeout", f"the GPU process was not up after {START_TIMEOUT_S:.0f} s")

    # ── turns ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _pump(self) -> None:
        """Send what may run: into the open slots, one image ahead of them, or towards the next ones."""
        if self._worker is None or self.device is None or self.state == "stopped":
            return
        moment = time.monotonic()
        while self._turns and not self._turns[0].jobs and (len(self._turns) > 1 or self._turns[0].closing):
            self._turns.pop(0)
        while len(self._running) < MOST_RUNNING:
            turn = self._turns[-1] if self._turns else None
            if turn is None or turn.closing or not turn.jobs:
                if len(self._turns) == 2 or not self._open_turn(moment):
                    break
                continue
            waiting = self._next_for(turn, moment)
            if waiting is not None:
                self._send(turn, waiting, moment)
            elif not turn.closing:
                break
        self._note_depth()

    def _open_turn(self, moment: float) -> bool:
        """Choose the next slots and send their first image; False where nothing waits."""
        waiting = self._queue.next(moment, self.resident)
        if waiting is None:
            return False
        if self._turns and not self._turns[-1].jobs:
            self._turns.pop()
        card = self.models.models[waiting.key.model]
        turn = Turn(waiting.key, card, self._shape_for(card, waiting.key, 0), closing=waiting.alone)
        self._turns.append(turn)
        self._send(turn, waiting, moment)
        return True

    def _next_for(self, turn: Turn, moment: float) -> Waiting | None:
        """The next image for these slots; None where they are full or must close."""
        first = turn is self._turns[0]
        if len(turn.jobs) >= (turn.shape + AHEAD if first else AHEAD):
            return None
        waiting = self._queue.next_for(turn.key, moment, self.resident)
        others = len(self._queue) > 0
        if waiting is None or waiting.alone:
            turn.closing = others
            return None
        if self._shape_for(turn.card, turn.key, len(turn.jobs)) > turn.shape:
            # More slots are worth opening, once these are empty.
            turn.closing = True
            return None
        return waiting

    def _shape_for(self, card: ModelCard, key: BatchKey, running: int) -> int:
        """How many slots would be best for the jobs of this key, those in slots included."""
        if card.reproducible:
            # Another shape would give other bytes, so where it does not fit, images fail.
            return card.shapes[0]
        wanted = max(1, running + self._queue.waiting_for(key))
        return self.sizes.shape_for(self._size_key(key.model, key.width, key.height), card.shapes, wanted)

    def _size_key(self, model: str, width: int, height: int) -> SizeKey:
        assert self.device is not None  # noqa: S101  nothing is sent or measured before the device is known
        limit = f", at most {self.settings.memory_gib:g} GiB" if self.settings.memory_gib else ""
        return SizeKey(model, self.device.device_name + limit, width, height)

    def _send(self, turn: Turn, waiting: Waiting, moment: float) -> None:
        assert self._worker is not None  # noqa: S101  _pump looked
        self._queue.take(waiting, moment, self.resident)
        job = self._waiting.pop(waiting.job_id)
        job = msgspec.structs.replace(job, attempts=job.attempts + 1)
        self._running[job.job_id] = Running(job)
        turn.jobs.add(job.job_id)
        self._write(lambda connection: jobs.start(connection, job.job_id, job.attempts), [job.job_id])
        key = turn.key
        self._worker.send(
            protocol.Enter(
                turn.card,
                key.width,
                key.height,
                key.steps,
                key.guidance,
                turn.shape,
                self._item(job),
                alone=job.alone,
                make_room=job.had_room,
            )
        )
        if self.state == "ready":
            self.state = "running"
            self._watch_step(turn.card)

    def _item(self, job: Job) -> protocol.Item:
        return protocol.Item(
            job_id=job.job_id,
            seed=job.plan.generations[0].seed,
            prompt=job.plan.generations[0].prompt,
            negative_prompt=job.plan.generations[0].negative_prompt,
            path=str((self.settings.images / image_path(job.job_id, 0, 1)).absolute()),
            colors=job.plan.generations[0].colors,
            evaluate=job.plan.evaluate,
            deliver_flawed=job.plan.on_technical_failure is FailureMode.DELIVER,
        )

    # ── reports ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _on_report(self, worker: Worker, report: protocol.Report) -> None:
        if worker is not self._worker:
            return
        match report:
            case protocol.Started():
                self._on_started(report)
            case protocol.Loading(model=model):
                # Until Loaded or LoadFailed nothing leaves a slot, so nothing else moves this deadline.
                self.state, self._loading = "loading", model
                log.info("Loading %s", model)
                self._watch_load(model)
            case protocol.Loaded():
                self._on_loaded(report)
            case protocol.LoadFailed(model=model, message=message):
                self.load_errors[model], self._loading = message, None
                log.error("%s could not be loaded: %s", model, message)
                self._go_on()
            case protocol.Evicted(model=model):
                self.resident.pop(model, None)
                metrics.model_loaded.labels(model).set(0)
            case protocol.Steps():
                self._on_steps(report)
            case protocol.Progress():
                self._on_progress(report)
            case protocol.Measured():
                self._on_measured(report)
            case protocol.Freed(job_id=job_id):
                self._on_freed(job_id)
            case protocol.Imaged():
                self._on_imaged(report)
            case protocol.Failed(job_id=job_id):
                if (job := self._leave(job_id)) is not None:
                    self._technical_failure(job, report.reason, report.message, report.fault)
            case protocol.Cancelled(job_id=job_id):
                self._leave(job_id)
            case protocol.Broke():
                self._on_broke(report)

    def _on_started(self, report: protocol.Started) -> None:
        self.device = report
        log.info("The GPU process is up on %s (%s)", report.device, report.device_name)
        self._pin()
        self._go_on()
        self._pump()
        self._load_default()

    def _pin(self) -> None:
        """Tell the GPU process which models never make room."""
        if self._worker is not None:
            pinned = (name for name, card in self.models.enabled.items() if card.pinned)
            self._worker.send(protocol.Pin(tuple(pinned)))

    def _load_default(self) -> None:
        """Have the default model in memory, so that the first image need not wait for it; nothing while others are made."""
        if self._worker is not None and not any(turn.jobs for turn in self._turns):
            self._worker.send(protocol.Load(self.models.default))

    def _on_loaded(self, report: protocol.Loaded) -> None:
        self.load_errors.pop(report.model, None)
        self._loading = None
        self.resident[report.model] = report.revision
        metrics.model_loaded.labels(report.model).set(1)
        log.info("Loaded %s in %.1f s, revision %s", report.model, report.seconds, report.revision)
        self._go_on()
        self._pump()

    def _on_steps(self, report: protocol.Steps) -> None:
        self._go_on()
        told = [done for done in report.done if done.job_id in self._running]
        for done in told:
            # The last tenth is for decoding, checking and writing.
            self._running[done.job_id].progress = min(0.9, 0.9 * done.step / report.steps)

        def add(connection: Any) -> None:
            for done in told:
                events.add(
                    connection,
                    done.job_id,
                    EventType.STAGE,
                    f"Step {done.step} of {report.steps}",
                    stage="denoising",
                    extra={"step": done.step, "steps": report.steps},
                    moment=as_text(datetime.fromtimestamp(done.at, UTC)),
                )

        if told:
            self._write(add, list({done.job_id for done in told}))

    def _on_progress(self, report: protocol.Progress) -> None:
        told = {job_id: running for job_id in report.job_ids if (running := self._running.get(job_id)) is not None}
        if report.stage != "loading":
            for running in told.values():
                running.progress = 0.9 if report.stage == "decoding" else 0.95

        def add(connection: Any) -> None:
            for job_id, running in told.items():
                model = running.job.plan.model
                message = f"Loading {model}" if report.stage == "loading" else report.stage.capitalize()
                extra = {"model": model} if report.stage == "loading" else {}
                events.add(connection, job_id, EventType.STAGE, message, stage=report.stage, extra=extra)

        if told:
            self._write(add, list(told))

    def _on_measured(self, report: protocol.Measured) -> None:
        key = self._size_key(report.model, report.width, report.height)
        self._note_size(Measurement(key, report.shape, report.revision, report.seconds_per_step, report.peak_bytes))
        self._pump()

    def _note_size(self, measurement: Measurement) -> None:
        self.sizes.note(measurement)
        self._write(lambda connection: measurements.note(connection, measurement), [])

    def _on_imaged(self, report: protocol.Imaged) -> None:
        job = self._leave(report.job_id)
        if job is None:
            return
        delivery = self._deliver(job, [report])
        self.deaths = 0
        self._job_seconds = report.timings["denoising_s"] + report.timings["decoding_s"]
        metrics.image_seconds.labels(report.recipe.model).observe(self._job_seconds)
        self._track(
            self._settle(
                job,
                lambda connection: jobs.succeed(connection, job.job_id, delivery),
                "success",
            )
        )

    def _on_broke(self, report: protocol.Broke) -> None:
        """A denoiser call failed, and with it every image that had not left its slot."""
        left = [self._running.pop(job_id) for job_id in report.job_ids if job_id in self._running]
        exact = any(turn.card.reproducible for turn in self._turns if turn.jobs.intersection(report.job_ids))
        for turn in self._turns:
            turn.jobs.difference_update(report.job_ids)
            # What is sent from now on opens slots anew.
            turn.closing = True
        if report.made_room and not all(running.job.had_room for running in left):
            for running in left:
                running.job = msgspec.structs.replace(running.job, had_room=True)
            self._again(left, report.reason, "Out of memory; other models make room for it, so it runs again")
        elif report.reason == "out_of_memory" and report.shape > 1 and exact:
            message = (
                f"Out of memory with the {report.shape} slots that reproducible = true pins {report.model} to;"
                " with a smaller max_batch it takes less, and a seed gives other bytes"
            )
            self._resolve(left, report.reason, message)
        elif report.reason == "out_of_memory" and report.shape > 1 and left:
            size = self._size_key(report.model, report.width, report.height)
            log.warning(
                "Out of memory with %d slots of %s at %d × %d; from now on fewer",
                report.shape,
                report.model,
                report.width,
                report.height,
            )
            self._note_size(Measurement(size, report.shape, report.revision, None, None))
            self._again(left, report.reason, f"Out of memory with {report.shape} slots; runs again with fewer")
        else:
            self._resolve(left, report.reason, report.message)
        self._go_on()
        self._pump()

    def _on_death(self, worker: Worker, status: int) -> None:
        if worker is not self._worker or self.state == "stopped":
            return
        if self._deadline is not None:
            self._deadline.cancel()
        reason, message, job_id = self._killed_for or (
            "worker_crashed",
            f"the GPU process ended with {_ending(status)}",
            None,
        )
        suspects = self._suspects if job_id is None else {job_id}
        log.error("The GPU process %d is gone: %s; its log, %s, may say why", worker.pid, message, self._log)
        self._worker, self.device, self._loading = None, None, None
        for model in self.resident:
            metrics.model_loaded.labels(model).set(0)
        self.resident.clear()
        self._turns.clear()
        left, self._running = list(self._running.values()), {}
        self.deaths += 1
        for running in left:
            running.job = msgspec.structs.replace(running.job, deaths=running.job.deaths + 1)
            if running.write_limit is not None:
                running.write_limit.cancel()
        self._start_again()
        message = message[0].upper() + message[1:]
        often = [running for running in left if running.job.deaths >= MOST_DEATHS]
        once = [running for running in left if running.job.deaths < MOST_DEATHS]
        self._resolve([running for running in once if running.job.job_id in suspects], reason, message)
        self._again(
            [running for running in once if running.job.job_id not in suspects], reason, f"{message}; runs again"
        )
        for running in often:
            self._resolve([running], reason, message)

    @property
    def _suspects(self) -> set[str]:
        """The jobs one of which a fault of the GPU process is put down to: those of the model that it loads, or those in the
        open slots and next for one. What was sent ahead for other slots, or is being written, is merely interrupted."""
        if self._loading is not None:
            return {job_id for turn in self._turns if turn.key.model == self._loading for job_id in turn.jobs}
        return next((turn.jobs for turn in self._turns if turn.jobs), set(self._running))

    def _start_again(self) -> None:
        """Start another GPU process, the later the more of them died in a row."""
        pause, base, most = RESTART_S
        if self.deaths > 1:
            pause = min(base * 2 ** (self.deaths - 2), most)
        self.state = "restarting"
        self._restart = asyncio.get_running_loop().call_later(pause, self._start_worker)

    # ── what becomes of a job ────────────────────────────────────────────────────────────────────────────────────────

    def _resolve(self, left: list[Running], reason: str, message: str) -> None:
        """What becomes of jobs that a broken run left without an answer."""
        left = [running for running in left if not self._was_cancelled(running)]
        if len(left) > 1:
            # One of them may have broken the others; alone, each answers for itself.
            for running in left:
                running.job = msgspec.structs.replace(running.job, alone=True)
            self._again(left, reason, f"{message}; runs again, alone")
            return
        for running in left:
            self._technical_failure(running.job, reason, message, "machine")

    def _technical_failure(self, job: Job, reason: str, message: str, fault: protocol.Fault) -> None:
        if job.plan.on_technical_failure is not FailureMode.RETRY or job.attempts >= job.plan.max_attempts:
            self._track(self._fail(job, reason, message, {"attempts": job.attempts}))
            return
        if fault == "image":
            generation = job.plan.generations[0]
            again = msgspec.structs.replace(generation, seed=next_seed(generation.seed))
            job = msgspec.structs.replace(job, plan=msgspec.structs.replace(job.plan, generations=(again,)))
        self._run_again(job, reason, f"{message}; attempt {job.attempts + 1} of {job.plan.max_attempts}")
        self._pump()

    def _again(self, left: list[Running], reason: str, message: str) -> None:
        """Run jobs again through no fault of their own: the attempt does not count."""
        for running in reversed(left):
            if self._was_cancelled(running):
                continue
            job = msgspec.structs.replace(running.job, attempts=running.job.attempts - 1)
            self._run_again(job, reason, message)
        self._pump()

    def _run_again(self, job: Job, reason: str, message: str) -> None:
        extra = {"reason": reason, "attempts": job.attempts, "seed": job.plan.generations[0].seed}
        self._write(lambda connection: jobs.requeue(connection, job, message, extra), [job.job_id])
        self._wait_for_turn(job, self._queue.put_back)

    def _wait_for_turn(self, job: Job, put: Callable[[Waiting], None]) -> None:
        work = job.plan.generations[0]
        if work.model not in self.models.enabled:
            self._fail_removed(job)
            return
        key = BatchKey(work.model, work.width, work.height, work.steps, work.guidance)
        self._waiting[job.job_id] = job
        put(Waiting(job.job_id, job.client_id, key, time.monotonic(), job.alone, job.priority))
        self._note_depth()

    def _fail_removed(self, job: Job) -> None:
        message = f"{job.plan.model} is no longer among the enabled models of models.toml"
        self._track(self._fail(job, "model_removed", message))

    def _on_freed(self, job_id: str) -> None:
        self._leave_slot(job_id)
        running = self._running.get(job_id)
        if running is not None:
            message = f"an image was not written after {WRITE_TIMEOUT_S:g} s, so the GPU process was ended"
            running.write_limit = self._later(WRITE_TIMEOUT_S, "write_timeout", message, job_id)

    def _leave_slot(self, job_id: str) -> None:
        """Only what leaves a slot is a sign of life; an image is written while the next model loads, for example."""
        turn = next((turn for turn in self._turns if job_id in turn.jobs), None)
        if turn is not None:
            turn.jobs.discard(job_id)
            self._go_on()
        self._pump()

    def _leave(self, job_id: str) -> Job | None:
        """The job, which the GPU process is done with; None where it was not running, or ended by being cancelled."""
        running = self._running.pop(job_id, None)
        self._leave_slot(job_id)
        if running is None:
            return None
        if running.write_limit is not None:
            running.write_limit.cancel()
        return None if self._was_cancelled(running) else running.job

    def _was_cancelled(self, running: Running) -> bool:
        """Whether the job ends by an accepted cancel; it does then, whatever became of it in the GPU process."""
        if running.cancelled:
            self._track(self._fail(running.job, "cancelled", "Cancelled while running"))
        return running.cancelled

    def _go_on(self) -> None:
        """A sign of life: the next one is due within a step's time, or nothing is running."""
        turn = next((turn for turn in self._turns if turn.jobs), None)
        if turn is not None:
            self.state = "running"
            self._watch_step(turn.card)
            return
        self.state = "ready"
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _note_depth(self) -> None:
        metrics.queue_depth.set(len(self._queue))
        metrics.running.set(len(self._running))
        metrics.slots.set(next((turn.shape for turn in self._turns if turn.jobs), 0))

    # ── time limits ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _watch_step(self, card: ModelCard) -> None:
        seconds = card.step_timeout_s
        self._watch(seconds, "step_timeout", f"a step took longer than {seconds:g} s, so the GPU process was ended")

    def _watch_load(self, model: str) -> None:
        card = self.models.models.get(model)
        seconds = card.load_timeout_s if card is not None else START_TIMEOUT_S
        self._watch(
            seconds, "load_timeout", f"{model} was not loaded after {seconds:g} s, so the GPU process was ended"
        )

    def _watch(self, seconds: float, reason: str, message: str) -> None:
        """Kill the GPU process unless it gives a sign of life within `seconds`."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self._later(seconds, reason, message)

    def _later(self, seconds: float, reason: str, message: str, job_id: str | None = None) -> asyncio.TimerHandle:
        worker = self._worker

        def expire() -> None:
            if worker is not None and worker is self._worker:
                self._killed_for = (reason, message, job_id)
                worker.kill()

        return asyncio.get_running_loop().call_later(seconds, expire)

    # ── the ledger ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _write(self, work: Callable[[Any], Any], job_ids: list[str]) -> None:
        """Queue a write of progress, and wake whoever follows these jobs once it is on disk."""
        self._track(self._written(self.database.submit(work), job_ids))

    async def _written(self, write: "asyncio.Future[Any]", job_ids: list[str]) -> None:
        await write
        for job_id in job_ids:
            self.hub.publish(job_id)

    async def _fail(self, job: Job, reason: str, message: str, extra: dict[str, Any] | None = None) -> None:
        await self._settle(job, lambda c: jobs.fail(c, job.job_id, reason, message, extra), reason, message)

    async def _settle(self, job: Job, end: Callable[[Any], bool], outcome: str, message: str = "") -> None:
        """End a job, however long the disk refuses: money hangs on it."""
        pause = 0.5
        while True:
            try:
                ended = await self.database.write(end)
                break
            except Exception:
                log.exception("Job %s could not be ended; trying again in %.1f s", job.job_id, pause)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 30.0)
        self._note_depth()
        if ended:
            metrics.jobs_ended.labels(outcome).inc()
            if (arrived := self._arrived.pop(job.job_id, None)) is not None:
                metrics.job_seconds.observe(time.monotonic() - arrived)
            level = logging.INFO if outcome in ("success", "cancelled") else logging.WARNING
            log.log(level, "Job %s of %s ended: %s", job.job_id, job.plan.model, message or outcome)
        self.hub.publish(job.job_id)
        if ended and outcome != "success":
            (self.settings.images / image_path(job.job_id, 0, 1)).unlink(missing_ok=True)

    def _track(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._settling.add(task)
        task.add_done_callback(self._settled)

    def _settled(self, task: "asyncio.Task[Any]") -> None:
        self._settling.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("A write to the ledger failed", exc_info=error)


def _ending(status: int) -> str:
    """A process's exit status for people: a negative one is the signal that ended it."""
    try:
        return f"signal {-status} ({signal.Signals(-status).name})" if status < 0 else f"status {status}"
    except ValueError:
        return f"signal {-status}"


def next_seed(seed: int) -> int:
    """The seed after a bad image; the range of seeds is a ring."""
    return (seed + 1) % 2**53
