"""Acts on the reports and crashes of GPUs: jobs go on or end, progress is told, costs are kept, and more is sent."""

from pipelines import protocol
from pipelines.failure_reason import FailureReason
from server import metrics
from server.scheduler import progress
from server.scheduler.active_jobs import ActiveJobs
from server.scheduler.batch_sizes import BatchSizes
from server.scheduler.crash import Crash
from server.scheduler.feeding import Feeder
from server.scheduler.gpu import Gpu
from server.scheduler.model_loads import ModelLoads
from server.scheduler.paces import Paces
from server.scheduler.pool import Pool
from server.scheduler.recovery import Happened
from server.scheduler.settlement import Settlement


class Reports:
    """Hears every GPU, after that GPU has noted what concerns it alone."""

    def __init__(
        self,
        gpus: Pool,
        jobs: ActiveJobs,
        feeder: Feeder,
        settlement: Settlement,
        batch_sizes: BatchSizes,
        loads: ModelLoads,
    ) -> None:
        self._gpus = gpus
        self._jobs = jobs
        self._feeder = feeder
        self._settlement = settlement
        self._batch_sizes = batch_sizes
        self._loads = loads
        self.paces = Paces()

    def on_report(self, gpu: Gpu, report: protocol.Report) -> None:
        """Act on a report, and send what may be sent now."""
        match report:
            case protocol.DevicesFound(gpus=count):
                self._gpus.add_others(gpu, count)
            case protocol.Started():
                self._gpus.compare(gpu, report)
                self._feeder.prepare(gpu)
            case protocol.Loaded(model=model, seconds=seconds):
                self._loads.loaded(model)
                self._feeder.loaded(model, seconds)
            case protocol.LoadFailed(model=model, reason=reason, message=message, image_ids=image_ids):
                self._load_failed(model, reason, message, image_ids)
            case protocol.StageReached(image_ids=image_ids):
                self._settlement.tell(progress.reached(self._jobs.in_flight(image_ids), report))
            case protocol.Steps(done=done):
                images = self._jobs.in_flight({step.image_id for step in done})
                self._settlement.tell(progress.denoised(images, report))
            case protocol.Previewed(image_id=image_id, step=step):
                self._jobs.previewed(image_id, step)
            case protocol.Restarted(image_ids=image_ids):
                self._settlement.tell(progress.restarted(self._jobs.in_flight(image_ids), report))
            case protocol.Measured():
                self._settlement.note_cost(self._batch_sizes.measured(gpu, report))
            case protocol.Generated(recipe=recipe, timings=timings):
                metrics.device_images.labels(gpu.name).inc()
                seconds = timings["denoising_s"] + timings["decoding_s"]
                self.paces.note(recipe.model, recipe.width, recipe.height, seconds)
                metrics.image_seconds.labels(recipe.model).observe(seconds)
                self._jobs.generated(report)
            case protocol.Failed():
                self._failed(gpu, report)
            case protocol.BatchFailed(reason=reason, message=message, image_ids=image_ids):
                self._jobs.lost(image_ids, Happened.BATCH_FAILED, reason, message)
            case protocol.Refused():
                self._refused(report)
            case protocol.Cancelled(image_id=image_id):
                self._jobs.dropped(image_id)
            case _:
                # The rest concerns the GPU alone.
                pass
        self._feeder.advance()

    def _failed(self, gpu: Gpu, report: protocol.Failed) -> None:
        """Let an image that is too large for this device run on another, if one may do that; or decide on it."""
        (image,) = self._jobs.in_flight([report.image_id])
        if report.reason is FailureReason.OUT_OF_MEMORY and image.key is not None:
            gpu.leave_to_others(image.key)
            if self._feeder.can_run_elsewhere(image.key.model, image.key):
                message = f"{gpu.name} has too little memory for the image"
                self._jobs.lost([report.image_id], Happened.REFUSED, report.reason, message)
                return
        self._jobs.failed(report)

    def _refused(self, report: protocol.Refused) -> None:
        """Let images run on another device, or fail if every device that is up, or soon will be, refuses their model."""
        happened = Happened.REFUSED
        if self._feeder.is_refused_everywhere(report.model):
            self._loads.errors[report.model] = report.message
            happened = Happened.MACHINE_FAULT
        self._jobs.lost(report.image_ids, happened, FailureReason.MODEL_LOAD_FAILED, report.message)

    def _load_failed(self, model: str, reason: FailureReason, message: str, image_ids: tuple[str, ...]) -> None:
        """Let images run on another device, or wait for the next try if no device could load their model soon."""
        if self._feeder.can_run_elsewhere(model):
            self._jobs.lost(image_ids, Happened.LOAD_FAILED, reason, message)
        else:
            self._loads.failed(model, reason, message, image_ids)

    def on_crash(self, crash: Crash) -> None:
        """Decide on the images that were in a GPU process that is gone, and send what may be sent now."""
        suspects, others = crash.suspects, crash.image_ids
        if crash.loading is not None:
            # The load is to blame and not an image: the model's next load may end the same way.
            others = tuple(image_id for image_id in crash.image_ids if image_id not in suspects)
            waited = tuple(image_id for image_id in crash.image_ids if image_id in suspects)
            self._load_failed(crash.loading, crash.reason, crash.message, waited)
            suspects = frozenset()
        self._jobs.lost(others, crash.happened, crash.reason, crash.message, suspects)
        self._feeder.advance()
