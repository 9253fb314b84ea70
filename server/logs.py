"""The server's log: to the terminal and to a file that is begun anew when it is large.

Much of what is logged comes from outside: paths, names, user agents. Control characters are escaped in all of it, so that
nothing written here moves a cursor, rings a bell or passes for a line of its own.
"""

import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import TracebackType

from server.printable import printable, printable_lines

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

ExceptionInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class PrintableFormatter(logging.Formatter):
    """A message is one line of printable characters; so is each line of a traceback."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  the name is logging's
        record.message = printable(record.message.rstrip())
        return super().formatMessage(record)

    def formatException(self, ei: ExceptionInfo) -> str:  # noqa: N802
        # Indented, so that no line of it passes for a message.
        return printable_lines(super().formatException(ei)).replace("\n", "\n  ")


def log_to(folder: Path, level: str) -> None:
    """Log to the terminal, and to `server.log` in a folder."""
    handlers: list[logging.Handler] = [
        RotatingFileHandler(folder / "server.log", maxBytes=10_000_000, backupCount=5),
        logging.StreamHandler(),
    ]
    for handler in handlers:
        handler.setFormatter(PrintableFormatter(FORMAT))
    logging.basicConfig(level=level, handlers=handlers)
