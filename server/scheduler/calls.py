"""Counts the denoising steps of one GPU in the metrics: how long they take, and how full the slots are."""

from pipelines import protocol
from server import metrics
from server.scheduler.batching import SlotGroup


class Calls:
    """Gathers the images that took a step together. A step is counted when the next one is reported."""

    def __init__(self) -> None:
        self._call: int | None = None
        #: The present step: the group whose step it is, and the images that took it.
        self._group: SlotGroup | None = None
        self._images: set[str] = set()
        #: When the present step ended, and the one before it, in seconds since 1970.
        self._at = 0.0
        self._images_before: set[str] = set()
        self._at_before = 0.0

    def note(self, report: protocol.Steps, group: SlotGroup) -> None:
        """Count the steps of a report, which are steps of this group."""
        for done in report.done:
            if done.call != self._call:
                self._count()
                self._images_before, self._at_before = self._images, self._at
                self._call, self._group, self._images = done.call, group, set()
            self._images.add(done.image_id)
            self._at = done.at

    def _count(self) -> None:
        if self._group is None:
            return
        model = self._group.key.model
        metrics.batch_images.labels(model).observe(len(self._images))
        metrics.batch_fill.labels(model).observe(len(self._images) / self._group.batch_size)
        # Two steps without an image in common may be hours apart.
        if self._images & self._images_before:
            metrics.step_seconds.labels(model).observe(max(0.0, self._at - self._at_before))
