"""Decides which models may be loaded now: those that are on this box and have not just failed.

A model of a hub is downloaded while images wait for it, or if it is the default; other models serve meanwhile. A model that
cannot be loaded or downloaded is tried again after a pause, not for each of its images. If several tries in a row fail, the
images that wait for it fail too; after that each further try decides on those that wait then.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Set
from functools import partial
from pathlib import Path

import msgspec

from pipelines import protocol
from pipelines.checks.files import problems_of_files
from pipelines.failure_reason import FailureReason
from pipelines.hub.messages import Progress
from pipelines.model_card import ModelCard
from pipelines.model_index import read_model_index
from server.card_files import with_download
from server.downloading import DownloadFailed, amount, download
from server.models_watch import ModelsFile
from server.scheduler import progress
from server.scheduler.active_jobs import ActiveJobs
from server.scheduler.bounds import Bounds
from server.scheduler.recovery import Happened
from server.scheduler.settlement import Settlement

log = logging.getLogger(__name__)


class RunningDownload(msgspec.Struct):
    """A download that runs."""

    card: ModelCard
    task: asyncio.Task[None]
    #: How far it is; None before the hub has answered.
    progress: Progress | None = None
    #: When the jobs that wait for it were last told, in seconds on the monotonic clock.
    told: float = 0.0


class ModelLoads:
    """Owns the downloads, the pauses after failures, and the reasons that `/readyz` tells."""

    def __init__(
        self,
        models: ModelsFile,
        jobs: ActiveJobs,
        settlement: Settlement,
        bounds: Bounds,
        changed: Callable[[], None],
    ) -> None:
        """Take the function `changed`, to call when a held model may be loaded."""
        self._models = models
        self._jobs = jobs
        self._settlement = settlement
        self._bounds = bounds
        self._changed = changed
        #: The models that cannot be used, and why.
        self.errors = _unusable(models)
        self.downloads: dict[str, RunningDownload] = {}
        #: The failed tries in a row, by model.
        self._failures: Counter[str] = Counter()
        self._pauses: dict[str, asyncio.TimerHandle] = {}
        self._stopping = False

    @property
    def held(self) -> frozenset[str]:
        """The models whose images stay in the queue for now."""
        enabled = self._models.current.enabled
        return frozenset(self._pauses) | {name for name, card in enabled.items() if not card.is_on_this_box}

    def held_s(self, model: str) -> float:
        """Guess the seconds for which a model is held: the rest of its pause or of its download; 0 if neither is known."""
        if (pause := self._pauses.get(model)) is not None:
            return max(0.0, pause.when() - asyncio.get_running_loop().time())
        running = self.downloads.get(model)
        if running is None or running.progress is None or running.progress.bytes_per_s == 0:
            return 0.0
        return (running.progress.total_bytes - running.progress.done_bytes) / running.progress.bytes_per_s

    def loaded(self, model: str) -> None:
        """Note that a model could be loaded."""
        self.errors.pop(model, None)
        self._failures.pop(model, None)

    @property
    def given_up(self) -> frozenset[str]:
        """The models that failed so often that they are tried again only if an image waits for them."""
        return frozenset(name for name, tries in self._failures.items() if tries >= self._bounds.load_tries)

    def want(self, models: Set[str]) -> None:
        """Download those of these models that are not on this box, and end all other downloads."""
        enabled = self._models.current.enabled
        wanted = {
            name: enabled[name]
            for name in models
            if name in enabled and not enabled[name].is_on_this_box and name not in self._pauses
        }
        for name, running in self.downloads.items():
            if name not in wanted or wanted[name].weights != running.card.weights:
                running.task.cancel()
        for name, card in wanted.items():
            if name not in self.downloads and not self._stopping:
                log.info("Downloading %s from %s", name, card.weights.hub)
                task = asyncio.create_task(self._download(card))
                self.downloads[name] = RunningDownload(card, task)
                task.add_done_callback(partial(self._download_ended, card))

    def models_changed(self) -> None:
        """Take up an edit of models.toml: models that failed may be tried again at once."""
        self.errors = _unusable(self._models)
        self._failures.clear()
        self._end_pauses()

    async def stop(self) -> None:
        """End the downloads. What has arrived stays for the next start."""
        self._stopping = True
        self._end_pauses()
        tasks = [running.task for running in self.downloads.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ── failures ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def failed(self, model: str, reason: FailureReason, message: str, image_ids: tuple[str, ...]) -> None:
        """Decide on these images, whose model could not be loaded or downloaded, and on those that wait for it."""
        self.errors[model] = message
        most, pauses = self._bounds.load_tries, self._bounds.load_pauses_s
        waiting = self._jobs.waiting_for(model)
        # If several GPUs try at the same time, the first one to fail counts.
        if model not in self._pauses:
            self._failures[model] += 1
            tries = self._failures[model]
            pause = pauses[min(tries, len(pauses)) - 1]
            log.error("%s: try %d failed, the next is in %g s at the earliest: %s", model, tries, pause, message)
            self._pauses[model] = asyncio.get_running_loop().call_later(pause, self._resume, model)
            if tries < most:
                told = f"{message}; try {tries + 1} of {most} in {pause:g} s"
                self._settlement.tell(progress.held(waiting, reason, told))
        if self._failures[model] < most:
            self._jobs.lost(image_ids, Happened.LOAD_FAILED, reason, message)
            return
        self._jobs.lost(image_ids, Happened.LOAD_GIVEN_UP, reason, message)
        self._jobs.give_up(model, reason, message)

    def _resume(self, model: str) -> None:
        del self._pauses[model]
        self._changed()

    def _end_pauses(self) -> None:
        for pause in self._pauses.values():
            pause.cancel()
        self._pauses.clear()

    # ── downloads ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _download(self, card: ModelCard) -> None:
        """Download a model and note that it is here. Raises DownloadFailed."""
        done = await download(card, partial(self._progressed, card.name), self._bounds.silence_s)
        folder = Path(done.folder)
        problems = await asyncio.to_thread(lambda: list(problems_of_files(card, folder, read_model_index(folder))))
        if problems:
            raise DownloadFailed("; ".join(problems))
        log.info("%s is on this box: %.1f MB in %s", card.name, done.total_bytes / 1e6, folder)
        here = await asyncio.to_thread(with_download, card, folder)
        self._models.arrived(card, here.weights)

    def _download_ended(self, card: ModelCard, task: "asyncio.Task[None]") -> None:
        del self.downloads[card.name]
        if task.cancelled():
            log.info(
                "The download of %s is ended: nothing waits for it, or its card says something else now", card.name
            )
        elif (error := task.exception()) is not None:
            if not isinstance(error, DownloadFailed):
                log.error("The download of %s broke", card.name, exc_info=error)
            self.failed(card.name, FailureReason.MODEL_LOAD_FAILED, protocol.told(str(error)), ())
        else:
            self.loaded(card.name)
        if not self._stopping:
            self._changed()

    def _progressed(self, model: str, now_at: Progress) -> None:
        running = self.downloads[model]
        if running.progress is not None and now_at.done_bytes > running.progress.done_bytes:
            # Bytes arrived since, so earlier tries were not in vain.
            self._failures.pop(model, None)
        running.progress = now_at
        now = time.monotonic()
        if now - running.told >= self._bounds.told_every_s:
            running.told = now
            log.info("Downloading %s: %s", model, amount(now_at))
            self._settlement.tell(progress.downloading(self._jobs.waiting_for(model), model, now_at))


def _unusable(models: ModelsFile) -> dict[str, str]:
    return {name: protocol.told("; ".join(problems)) for name, problems in models.current.unusable.items()}
