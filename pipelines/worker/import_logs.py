"""What libraries say while they are imported, before there is a model or an image that it could be about."""

import logging
import re

#: By the logger, how lines begin that say nothing to an operator: which kernels of other devices torchao cannot load, and how
#: it and torch fit together. What a model needs and is not there is told when the model is checked or loaded.
_UNHEARD = {
    "diffusers.quantizers.torchao.torchao_quantizer": "Unable to import `torchao` Tensor objects",
    "torch.utils._pytree": "<enum ",
    "torchao": "Failed to load ",
    "torchao.kernel.intmm": "Warning: Detected no triton",
}


def keep_out_import_logs() -> None:
    """Keep these lines out of the log. Needs that none of the libraries was imported."""
    for logger, start in _UNHEARD.items():
        silence(logger, start)


def silence(logger: str, start: str) -> None:
    """Keep what a logger says out of the log if it begins like the pattern `start`."""
    logging.getLogger(logger).addFilter(lambda record: re.match(start, record.getMessage()) is None)
