"""The log lines of diffusers and transformers, as far as they help an operator."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import diffusers
import transformers

from pipelines.worker.import_logs import silence

_LIBRARIES = ("diffusers", "transformers", "huggingface_hub")
#: A function that says what the libraries work on. Each thread has its own, since a model is prefetched beside the one that
#: runs.
_subject: ContextVar[Callable[[], str] | None] = ContextVar("subject", default=None)


def keep_library_logs() -> None:
    """Send the libraries' warnings to the log, each with the model and the images that it is about.

    Progress bars, and warnings that say nothing to an operator, are kept out of the log.
    """
    for library in (diffusers.utils.logging, transformers.utils.logging):
        library.disable_progress_bar()
        library.disable_default_handler()
        library.enable_propagation()
        library.set_verbosity_warning()
    # Silence diffusers' warnings about unknown config keys and unexpected component types.
    silence("diffusers.configuration_utils", "The config attributes")
    silence("diffusers.pipelines.pipeline_utils", "Expected types")
    # diffusers itself has SDXL in float16 cast its VAE for each image.
    silence("diffusers.models.modeling_utils", r"There are modules in \w+ that should be kept in float32")
    # No text-to-image pipeline needs torchvision for this: the other back end does the same.
    silence("transformers.utils.import_utils", r"`\w+` requires torchvision \(not installed\); falling back")
    for handler in logging.getLogger().handlers:
        handler.addFilter(_name_subject)


@contextmanager
def about(subject: str | Callable[[], str]) -> Iterator[None]:
    """Put `subject`, or what it returns at the time, before the libraries' log lines of this thread inside the block."""
    before = _subject.set((lambda: subject) if isinstance(subject, str) else subject)
    try:
        yield
    finally:
        _subject.reset(before)


def _name_subject(record: logging.LogRecord) -> bool:
    """Name the subject in a library's record, only once if several handlers get it. Return True, which keeps the record."""
    subject = _subject.get()
    if subject is not None and record.name.partition(".")[0] in _LIBRARIES and not hasattr(record, "subject"):
        record.__dict__["subject"] = named = subject()
        record.msg, record.args = f"{named}: {record.getMessage()}", ()
    return True
