"""What diffusers and transformers say by themselves, as far as it belongs in the log."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import diffusers
import transformers

_LIBRARIES = ("diffusers", "transformers", "huggingface_hub")


class LibraryLogs(logging.Filter):
    """Sends the libraries' warnings to the log of the GPU process, each with the model and the images that it is about."""

    def __init__(self) -> None:
        """Begin; keep progress bars out of the log, and warnings that say nothing to an operator."""
        super().__init__()
        self._subject: Callable[[], str] | None = None
        for library in (diffusers.utils.logging, transformers.utils.logging):
            library.disable_progress_bar()
            library.disable_default_handler()
            library.enable_propagation()
            library.set_verbosity_warning()
        # Silence diffusers' warnings about unknown config keys and unexpected component types.
        _silence("diffusers.configuration_utils", "The config attributes")
        _silence("diffusers.pipelines.pipeline_utils", "Expected types")
        for handler in logging.getLogger().handlers:
            handler.addFilter(self)

    @contextmanager
    def about(self, subject: Callable[[], str]) -> Iterator[None]:
        """Put what `subject` returns before what the libraries say meanwhile."""
        before, self._subject = self._subject, subject
        try:
            yield
        finally:
            self._subject = before

    def filter(self, record: logging.LogRecord) -> bool:
        """Name the subject of a library's record, once, whichever handlers it goes through; keep every record."""
        if self._subject is not None and record.name.partition(".")[0] in _LIBRARIES and not hasattr(record, "subject"):
            record.__dict__["subject"] = subject = self._subject()
            record.msg, record.args = f"{subject}: {record.getMessage()}", ()
        return True


def _silence(logger: str, start: str) -> None:
    logging.getLogger(logger).addFilter(lambda record: not record.getMessage().startswith(start))
