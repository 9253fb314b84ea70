"""The pause of a pipeline's call in its middle: it runs in a greenlet, whose parent is the batch that resumes it.

A batch must start and resume its coroutines in one place, its `tick`. When torch raises an error, it walks the whole C stack:
from the frames of the coroutine to those of its resumer, as if these were still the frames of its starter. If the two are in
different places, the process crashes.
"""

from typing import Any

from greenlet import getcurrent


def pause(value: Any = None) -> Any:
    """Hand `value` to the batch, and return its answer once it resumes this coroutine. Raises RuntimeError outside of one."""
    batch = getcurrent().parent
    if batch is None:
        raise RuntimeError("a pipeline's call was paused outside its coroutine")
    return batch.switch(value)
