"""Decides how many slots a GPU opens for a batch key, by the batch costs that are known of its device."""

from pipelines import protocol
from pipelines.batch_choice import BatchCost, BatchCosts, CostKey, Running
from pipelines.model_card import ModelCard, cost_digest
from server.scheduler.batching import SlotGroup
from server.scheduler.gpu import Gpu
from server.scheduler.queue import BatchKey


class BatchSizes:
    """Owns what is known of the cost of batch sizes."""

    def __init__(self, memory_gib: float) -> None:
        """Take the most memory that a GPU process may have; 0 is all that its device has."""
        self._memory_gib = memory_gib
        self._costs = BatchCosts()

    def note(self, cost: BatchCost) -> None:
        """Keep a cost that was measured before."""
        self._costs.note(cost)

    def measured(self, gpu: Gpu, report: protocol.Measured) -> BatchCost:
        """Keep a cost that a GPU process has just measured, and return it."""
        cost = BatchCost(
            key=self._key(gpu, report),
            batch_size=report.batch_size,
            cost_revision=report.cost_revision,
            seconds_per_step=report.seconds_per_step,
            peak_bytes=report.peak_bytes,
            working_bytes=report.working_bytes,
        )
        self._costs.note(cost)
        return cost

    def best(self, gpu: Gpu, card: ModelCard, key: BatchKey, images: int) -> int:
        """Return how many slots are best for this many images."""
        if card.limits.reproducible:
            # Another batch size gives other bytes, so images fail if this one does not fit.
            return card.limits.allowed_batch_sizes[0]
        return self._costs.batch_size_for(self._key(gpu, key), card.limits.allowed_batch_sizes, images)

    def should_begin_again(self, gpu: Gpu, group: SlotGroup, waiting: int, now: float) -> bool:
        """Return whether the images of a group should begin again, together with `waiting` others."""
        if group.since is None:
            return False
        return self._costs.should_begin_again(
            self._key(gpu, group.key),
            group.card.limits.allowed_batch_sizes,
            group.key.all_steps,
            Running(group.batch_size, len(group.images), now - group.since, group.lost_s),
            waiting,
        )

    def seconds_per_image(self, gpu: Gpu, key: BatchKey) -> float | None:
        """Return the seconds that an image takes on this device at the best batch size; None if nothing was measured."""
        return self._costs.seconds_per_image(self._key(gpu, key), key.all_steps)

    def image_bytes(self, gpu: Gpu, card: ModelCard) -> int | None:
        """Return the least bytes that an image of a model takes on a device beside the weights; None if not measured."""
        suffix = f" {cost_digest(card)}"
        return self._costs.image_bytes(
            card.name, self._device(gpu), card.limits.allowed_batch_sizes[0], lambda revision: revision.endswith(suffix)
        )

    def _key(self, gpu: Gpu, images: BatchKey | protocol.Measured) -> CostKey:
        return CostKey(images.model, self._device(gpu), images.width, images.height)

    def _device(self, gpu: Gpu) -> str:
        # What fits depends on the memory limit, so costs under another limit are those of another device.
        return gpu.device_name + (f", at most {self._memory_gib:g} GiB" if self._memory_gib else "")
