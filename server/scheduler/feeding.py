"""Carries out what `batching` decides: takes images from the queue and sends them to the GPUs."""

import time
from collections.abc import Sequence

from server import metrics
from server.models_watch import ModelsFile
from server.scheduler.active_jobs import ActiveJobs
from server.scheduler.batch_sizes import BatchSizes
from server.scheduler.batching import Close, Enter, Open, SlotGroup, next_action
from server.scheduler.gpu import Gpu
from server.scheduler.model_loads import ModelLoads
from server.scheduler.queue import BatchKey, Queue


class Feeder:
    """Keeps every GPU supplied from one queue."""

    def __init__(
        self,
        gpus: Sequence[Gpu],
        queue: Queue,
        jobs: ActiveJobs,
        batch_sizes: BatchSizes,
        models: ModelsFile,
        loads: ModelLoads,
        most_in_flight: int,
    ) -> None:
        """Take how many images may be in one GPU process at once."""
        self._gpus = gpus
        self._queue = queue
        self._jobs = jobs
        self._batch_sizes = batch_sizes
        self._models = models
        self._loads = loads
        self._most_in_flight = most_in_flight

    def prepare(self, gpu: Gpu) -> None:
        """Tell a GPU which models stay in memory. If no image waits, let it have the default one at hand."""
        if not gpu.is_up:
            return
        models = self._models.current
        gpu.pin(name for name, card in models.enabled.items() if card.pinned)
        at_hand = not len(self._queue) and gpu.groups.current is None
        if at_hand and models.default_model not in self._loads.held:
            gpu.load(models.default)

    def models_changed(self) -> None:
        """Take up an edit of models.toml: nothing more enters slot groups whose card is another one now."""
        for gpu in self._gpus:
            for group in gpu.groups:
                group.closing = group.closing or self._models.current.enabled.get(group.key.model) != group.card
            self.prepare(gpu)

    def advance(self) -> None:
        """Send what may be sent, to one GPU after the other, until there is nothing left to do."""
        now = time.monotonic()
        while any([self._act(gpu, now) for gpu in self._gpus]):  # noqa: C419  each GPU has its chance in every round
            pass
        self._loads.want({self._models.current.default_model} | {key.model for key in self._queue.waiting})
        metrics.queue_depth.set(len(self._queue))
        metrics.running.set(sum(len(gpu.in_flight) for gpu in self._gpus))
        metrics.slots.set(sum(gpu.groups.open_slots for gpu in self._gpus))

    def _act(self, gpu: Gpu, now: float) -> bool:
        """Take the next action for a GPU, and return whether there was one."""
        if not gpu.is_up or len(gpu.in_flight) >= self._most_in_flight:
            return False
        models = self._models.current.models

        def batch_size_for(key: BatchKey, images: int) -> int:
            return self._batch_sizes.best(gpu, models[key.model], key, images)

        action = next_action(gpu.groups, self._queue, gpu.affinity, now, batch_size_for, self._loads.held)
        match action:
            case Open(image=image, batch_size=batch_size):
                # No neighbour may follow an isolated image.
                group = SlotGroup(image.key, models[image.key.model], batch_size, closing=image.isolated)
                gpu.groups.open(group)
                gpu.generate(group, self._jobs.begin(image, now, gpu.affinity), image.isolated)
            case Enter(image=image, group=group):
                gpu.generate(group, self._jobs.begin(image, now, gpu.affinity), image.isolated)
            case Close(group=group):
                group.closing = True
        return action is not None
