"""What diffusers and transformers say by themselves, as far as it belongs in the log."""

import logging

import diffusers
import transformers


def quieten() -> None:
    """Keep progress bars out of the log, and warnings that say nothing to an operator."""
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    # Silence diffusers' warnings about unknown config keys and unexpected component types.
    _silence("diffusers.configuration_utils", "The config attributes")
    _silence("diffusers.pipelines.pipeline_utils", "Expected types")


def _silence(logger: str, start: str) -> None:
    logging.getLogger(logger).addFilter(lambda record: not record.getMessage().startswith(start))
