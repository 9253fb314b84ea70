"""Pausing a pipeline's call in the middle: it runs in a greenlet, and the batch that resumes it is that greenlet's parent.

A batch must start and resume its coroutines in one place, which is its `tick`. When torch raises an error, it walks the whole
C stack: from the coroutine on into the frames of what resumed it, as if these were the frames of what started it. If they lie
elsewhere, the process crashes.
"""

from typing import Any

from greenlet import getcurrent


def pause(value: Any = None) -> Any:
    """Hand `value` to the batch; return what it resumes this coroutine with. Raises RuntimeError outside of a coroutine."""
    batch = getcurrent().parent
    if batch is None:
        raise RuntimeError("a pipeline's call was paused outside its coroutine")
    return batch.switch(value)
