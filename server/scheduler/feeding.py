"""Carries out what `batching` decides: takes images from the queue and sends them to the GPUs."""

import asyncio
import logging
import time

from pipelines.model_card import ModelCard
from server.models_watch import ModelsFile
from server.scheduler.active_jobs import ActiveJobs
from server.scheduler.batch_sizes import BatchSizes
from server.scheduler.batching import Close, Enter, Open, SlotGroup, TakeBack, may_act, next_action
from server.scheduler.gpu import Gpu
from server.scheduler.model_loads import ModelLoads
from server.scheduler.placement import Served, left_to_others
from server.scheduler.pool import Pool
from server.scheduler.queue import BatchKey, Queue

log = logging.getLogger(__name__)

#: Seconds between looks at what may be sent only because time has passed.
LOOK_EVERY_S = 0.5


class Feeder:
    """Keeps every GPU supplied from one queue."""

    def __init__(
        self,
        gpus: Pool,
        queue: Queue,
        jobs: ActiveJobs,
        batch_sizes: BatchSizes,
        models: ModelsFile,
        loads: ModelLoads,
        most_in_flight: int,
    ) -> None:
        """Take the most images that may be in one GPU process at once."""
        self._gpus = gpus
        self._queue = queue
        self._jobs = jobs
        self._batch_sizes = batch_sizes
        self._models = models
        self._loads = loads
        self._most_in_flight = most_in_flight
        #: Seconds that the last load of each model took.
        self._load_s: dict[str, float] = {}

    def loaded(self, model: str, seconds: float) -> None:
        """Note how long a model took to load."""
        self._load_s[model] = seconds

    def load_seconds(self, model: str) -> float:
        """Guess the seconds until a model is in the memory of a GPU: 0 if it is, or if it was never loaded here."""
        return 0.0 if any(model in gpu.loaded for gpu in self._gpus) else self._load_s.get(model, 0.0)

    def prepare(self, gpu: Gpu) -> None:
        """Pin a GPU's models. If no image waits, load those that cards pin to this GPU by its name, or the default model."""
        if not gpu.is_up:
            return
        models = self._models.current
        gpu.pin(name for name, card in models.enabled.items() if card.is_pinned_on(gpu.name))
        held = self._loads.held
        if not any(key.model not in held for key in self._queue.waiting) and gpu.groups.current is None:
            own = [card for card in models.enabled.values() if card.pinned is not True and card.is_pinned_on(gpu.name)]
            for card in own or [models.default]:
                is_left = card.name in gpu.unable and self.can_run_elsewhere(card.name)
                if card.name not in held | self._loads.given_up and not is_left:
                    self.load(gpu, card)

    def load(self, gpu: Gpu, card: ModelCard) -> None:
        """Load a model on a GPU; while the GPU is busy with images, the model is only prefetched."""
        gpu.load(card, self._batch_sizes.image_bytes(gpu, card))

    def models_changed(self) -> None:
        """Take up an edit of models.toml: close the slot groups whose model has another card now or none."""
        for gpu in self._gpus:
            for group in gpu.groups:
                group.closing = group.closing or self._models.current.enabled.get(group.key.model) != group.card
            gpu.take_up(self._models.current.enabled)
            self.prepare(gpu)

    def advance(self) -> None:
        """Send what may be sent, to one GPU after the other, until there is nothing left to do."""
        self._loads.want({self._models.current.default_model} | {key.model for key in self._queue.waiting})
        if not len(self._queue):
            return
        now = time.monotonic()
        able = [gpu for gpu in self._gpus if self._can_take(gpu)]
        while able:
            # The idlest GPU goes first; of equals, one that has a model. Each acts once in a round. One that has nothing to
            # do in a round will have nothing to do in the next.
            able.sort(key=lambda gpu: (len(gpu.in_flight), not gpu.loaded))
            able = [gpu for gpu in able if self._act(gpu, now)]

    async def follow_clock(self) -> None:
        """Send what may be sent because time has passed, until this is cancelled: nothing reports the end of a patience."""
        while True:
            try:
                self.advance()
            except Exception:
                log.exception("What may be sent by now could not be sent")
            await asyncio.sleep(LOOK_EVERY_S)

    def _act(self, gpu: Gpu, now: float) -> bool:
        """Take the next action for a GPU, and return whether there was one."""
        if not self._can_take(gpu):
            return False
        models = self._models.current.models

        def batch_size_for(key: BatchKey, images: int) -> int:
            # The waiting images are shared with the GPUs that could begin on them at once.
            idle = sum(key.model in other.loaded and not other.in_flight for other in self._gpus if other is not gpu)
            return self._batch_sizes.best(gpu, models[key.model], key, -(-images // (1 + idle)))

        def should_begin_again(group: SlotGroup, waiting: int) -> bool:
            # The waiting images are shared with the other GPUs that serve their key.
            sharing = sum(any(other.key == group.key for other in each.groups) for each in self._gpus)
            return self._batch_sizes.should_begin_again(gpu, group, -(-waiting // sharing), now)

        action = next_action(
            gpu.groups, self._queue, gpu.affinity, now, batch_size_for, should_begin_again, self._elsewhere(gpu)
        )
        match action:
            case Open(image=image, batch_size=batch_size):
                card = models[image.key.model]
                group = SlotGroup(
                    image.key,
                    card,
                    batch_size,
                    # No neighbour may follow an isolated image.
                    closing=image.isolated,
                    isolated=image.isolated,
                    image_bytes=self._batch_sizes.image_bytes(gpu, card),
                    lost_s=image.lost_s,
                )
                gpu.groups.open(group)
                gpu.generate(group, self._jobs.begin(image, now, gpu.affinity))
            case Enter(image=image, group=group):
                group.lost_s = max(group.lost_s, image.lost_s)
                gpu.generate(group, self._jobs.begin(image, now, gpu.affinity))
            case Close(group=group):
                group.closing = True
            case TakeBack(group=group):
                group.taken_back = True
                log.info("%s takes %d images of %s back: more have come", gpu.name, len(group.images), group.key.model)
                self._jobs.take_back(gpu, group)
        return action is not None

    def _can_take(self, gpu: Gpu) -> bool:
        return gpu.is_up and may_act(gpu.groups) and len(gpu.in_flight) < self._most_in_flight

    def _elsewhere(self, gpu: Gpu) -> frozenset[BatchKey]:
        """Return the keys whose images this GPU leaves in the queue: to others, or until their model may be loaded."""
        keys = self._queue.waiting.keys()
        others = {key.model for key in keys if not gpu.serves(key.model)}
        left = left_to_others({model: self._served(model) for model in others}, is_empty=not gpu.loaded)
        held = self._loads.held
        if gpu.groups.current is not None and gpu.groups.current.isolated:
            # Nothing is prefetched beside an image that has to show whether it ends the process.
            held |= others
        return frozenset(
            key
            for key in keys
            if key.model in held or (key.model in left and self._is_served(key)) or self._passes_over(gpu, key)
        )

    def _is_served(self, key: BatchKey) -> bool:
        """Return whether a GPU that serves the model of this key takes its images."""
        return any(gpu.is_up and gpu.serves(key.model) and not self._passes_over(gpu, key) for gpu in self._gpus)

    def _passes_over(self, gpu: Gpu, key: BatchKey) -> bool:
        """Return whether this GPU may not run the key's model, or was unable to run its images, and another may do it."""
        if key.model in gpu.refused and not self.is_refused_everywhere(key.model):
            return True
        # Most GPUs are unable to run nothing, and a hash of each key takes time.
        return (
            bool(gpu.unable) and not gpu.unable.isdisjoint((key.model, key)) and self.can_run_elsewhere(key.model, key)
        )

    def can_run_elsewhere(self, model: str, key: BatchKey | None = None) -> bool:
        """Return whether a device that is up, or soon will be, may run the model, and was not unable to lately.

        With a key, whether that holds for images of this key.
        """
        return any(
            gpu.is_expected and gpu.unable.isdisjoint((model, key)) and model not in gpu.refused for gpu in self._gpus
        )

    def is_refused_everywhere(self, model: str) -> bool:
        """Return whether no device that is up, or soon will be, may run the model."""
        return all(model in gpu.refused for gpu in self._gpus if gpu.is_expected)

    def _served(self, model: str) -> Served:
        serving = [gpu for gpu in self._gpus if gpu.is_up and gpu.serves(model)]
        seconds = [
            (images, self._batch_sizes.seconds_per_image(serving[0], key))
            for key, images in self._queue.waiting.items()
            if serving and key.model == model
        ]
        known = [(images, each) for images, each in seconds if each is not None]
        # Assume that keys without measurements take as long as those with.
        counted = sum(images for images, _ in known)
        backlog_s = sum(images * each for images, each in known)
        waiting = sum(images for images, _ in seconds)
        return Served(
            gpus=len(serving),
            backlog_s=backlog_s * waiting / counted if counted else None,
            load_s=self._load_s.get(model),
        )
