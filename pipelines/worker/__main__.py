"""The start of the GPU process: `python -m pipelines.worker FD DEVICE MEMORY_GIB LOG_FILE`.

Orders come over the socket FD, which the process inherits from the server, and reports go back over it. To import torch takes
seconds, so it is imported only once a thread reads orders and would notice the end of the server.
"""

import gc
import importlib
import logging
import os
import sys
import threading
from importlib.metadata import version
from importlib.util import find_spec
from logging.handlers import RotatingFileHandler
from multiprocessing.connection import Connection
from pathlib import Path

from pipelines.log_format import PrintableFormatter
from pipelines.parent import end_with_parent
from pipelines.protocol import CannotStart, Report, encode
from pipelines.worker.import_logs import keep_out_import_logs
from pipelines.worker.orders import Orders

log = logging.getLogger("pipelines.worker")


def main() -> None:
    """Follow orders until the server is gone. Exits with status 1 if the device is lost or cannot be used."""
    end_with_parent()
    descriptor, device, memory_gib, log_file = int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), Path(sys.argv[4])
    os.set_inheritable(descriptor, False)
    _log_to(log_file)
    pipe = Connection(descriptor)
    orders = Orders(pipe)
    sending = threading.Lock()

    def report(message: Report) -> None:
        with sending:
            try:
                pipe.send_bytes(encode(message))
            except ConnectionError:
                # The server is gone, so this process ends too, as it does when the pipe of orders closes.
                os._exit(0)

    try:
        # Everything allocated so far is permanent: exclude it from garbage collection. To search it would delay
        # the first image, and each later change of model or slot group.
        gc.disable()
        from pipelines.worker.engine import Engine

        engine = Engine(device, int(memory_gib * 2**30) or None, orders, report)
        gc.freeze()
        gc.enable()
    except Exception as error:
        log.exception("The GPU process cannot use the device %s", device)
        report(CannotStart(_problem_of_torchvision() or f"{type(error).__name__}: {error}"))
        sys.exit(1)
    try:
        engine.serve()
    except Exception:
        log.exception("The GPU process cannot go on")
        sys.exit(1)


def _problem_of_torchvision() -> str | None:
    """Return what is wrong with an installed torchvision, which transformers would import; None if nothing is."""
    if find_spec("torchvision") is None:
        return None
    try:
        importlib.import_module("torchvision")
    except Exception as error:  # noqa: BLE001  whatever it is, it is told
        return (
            f"torchvision {version('torchvision')} does not fit torch {version('torch')} ({type(error).__name__}: {error});"
            " few models need it; remove it with: .venv/bin/python -m pip uninstall torchvision"
        )
    return None


def _log_to(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    handlers: list[logging.Handler] = [
        RotatingFileHandler(file, maxBytes=10_000_000, backupCount=3),
        logging.StreamHandler(),
    ]
    for handler in handlers:
        handler.setFormatter(PrintableFormatter())
    logging.basicConfig(level=logging.INFO, handlers=handlers)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    keep_out_import_logs()


if __name__ == "__main__":
    main()
