"""The log lines of libraries while they are imported, before any model or image is there."""

import logging
import re

#: Beginnings of lines that say nothing to an operator, by logger: which kernels of other devices torchao cannot load, and how
#: it and torch fit together. If a model needs a missing package, the check or the load of the model says so.
_UNHEARD = {
    "diffusers.quantizers.torchao.torchao_quantizer": "Unable to import `torchao` Tensor objects",
    "torch.utils._pytree": "<enum ",
    "torchao": "Failed to load ",
    "torchao.kernel.intmm": "Warning: Detected no triton",
}


def keep_out_import_logs() -> None:
    """Keep these lines out of the log. Call this before any of the libraries is imported."""
    for logger, start in _UNHEARD.items():
        silence(logger, start)


def silence(logger: str, start: str) -> None:
    """Keep a logger's lines out of the log if they begin like the pattern `start`."""
    logging.getLogger(logger).addFilter(lambda record: re.match(start, record.getMessage()) is None)
