"""Guides images only while their noise is within an interval.

At much noise guidance takes variety away, and at little noise nothing is left to decide. So images are better, and cost less,
if only the steps between are guided (Kynkäänniemi et al. 2024, arXiv:2404.07724).
"""

from typing import Any

import torch

from pipelines.denoising.copying import copy_with
from pipelines.denoising.families import Family, family_of
from pipelines.denoising.forecast import mix
from pipelines.denoising.tensor_tree import second_half, tensors, with_tensors
from pipelines.model_card import Interval


class PartlyGuided:
    """Stands in for the denoiser in one pipeline call, of a family that guides in one call.

    Outside the interval it asks the denoiser about the prompt alone. The answer stands for both halves of the rows: guidance
    between two equal answers changes nothing.
    """

    def __init__(self, denoiser: Any, family: Family, interval: Interval, scheduler: Any, images: int = 1) -> None:
        """Take the denoiser, or what is called like it, the call's scheduler and the number of its images.

        The scheduler must be one of STEERED_SCHEDULERS.
        """
        self._denoiser, self._family, self._interval = denoiser, family, interval
        self._scheduler, self._images = scheduler, images
        #: The calls so far that could be guided.
        self._calls = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._denoiser, name)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        rows = len(arguments[0] if arguments else keywords[self._family.sample])
        if rows == self._images:
            # Guidance is off, or this is a further call of SD 3, which leaves out layers.
            return self._denoiser(*arguments, **keywords)
        call, self._calls = self._calls, self._calls + 1
        if self._is_inside(call):
            return self._denoiser(*arguments, **keywords)
        answer = self._denoiser(*second_half(arguments, rows), **second_half(keywords, rows))
        return with_tensors(answer, (torch.cat([tensor, tensor]) for tensor in tensors(answer)))

    def _is_inside(self, call: int) -> bool:
        known = mix(self._scheduler, call)
        if known is None:
            name = type(self._scheduler).__name__
            raise ValueError(f"{name} does not tell how much noise is left, so guidance_interval cannot act")
        picture, noise = known
        least, most = self._interval
        return least <= noise / (picture + noise) <= most


def partly_guided(pipeline: Any, interval: Interval | None, images: int) -> Any:
    """Return a copy of a pipeline for one call of so many images; the pipeline itself if it has no interval.

    Raises ValueError if its family does not guide in one call.
    """
    if interval is None:
        return pipeline
    family = family_of(pipeline)
    if family is None or not family.guides_in_one_call:
        raise ValueError(f"{type(pipeline).__name__} does not guide in one call")
    denoiser = PartlyGuided(getattr(pipeline, family.attribute), family, interval, pipeline.scheduler, images)
    return copy_with(pipeline, **{family.attribute: denoiser})
