"""The server's log: to the terminal and to a file that is begun anew when it is large."""

import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path

from pipelines.log_format import PrintableFormatter


def log_to(folder: Path, level: str) -> None:
    """Log to the terminal, and to `server.log` in a folder."""
    handlers: list[logging.Handler] = [
        RotatingFileHandler(folder / "server.log", maxBytes=10_000_000, backupCount=5),
        logging.StreamHandler(),
    ]
    for handler in handlers:
        handler.setFormatter(PrintableFormatter())
    logging.basicConfig(level=level, handlers=handlers)
