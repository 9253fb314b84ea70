"""The format of the logs of the server and the GPU processes.

Much of what is logged comes from outside: paths, names, user agents, models. Control characters are escaped everywhere, so
that nothing in a log moves a cursor, rings a bell or passes for a line of its own.
"""

import logging
from types import TracebackType

from pipelines.printable import printable, printable_lines

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

ExceptionInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class PrintableFormatter(logging.Formatter):
    """A formatter that makes each message one line of printable characters, and each line of a traceback printable."""

    def __init__(self) -> None:
        super().__init__(FORMAT)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  the name is logging's
        record.message = printable(record.message.rstrip())
        return super().formatMessage(record)

    def formatException(self, ei: ExceptionInfo) -> str:  # noqa: N802
        # It is indented, so that no line of it passes for a message.
        return printable_lines(super().formatException(ei)).replace("\n", "\n  ")
