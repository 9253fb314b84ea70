"""Copies of pipelines for one call or one slot, which share all components but a few."""

import copy
from typing import Any


def copy_with(pipeline: Any, **components: Any) -> Any:
    """Return a copy of a pipeline with other components."""
    copied = copy.copy(pipeline)
    # This avoids DiffusionPipeline.__setattr__, which would write the change into the config that all copies share.
    vars(copied).update(components)
    return copied
