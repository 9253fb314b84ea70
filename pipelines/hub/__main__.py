"""The download process: `python -m pipelines.hub HUB REVISION VARIANT FILE [pickle]`; what is empty is none.

FILE is the card's checkpoint in one file: what it holds is not downloaded.

It writes the messages of messages.py to its standard output, and ends when the model is on this box or the download fails. If
nobody reads its output any more, it ends at its next message.
"""

import logging
import os
import sys
import threading
import time
from collections import deque
from pathlib import Path

from pipelines.hub.download import Damaged, Download, plan
from pipelines.hub.messages import Downloaded, Logged, Message, Progress, Refused, encode
from pipelines.hub.refusals import EXPECTED, why_refused
from pipelines.hub.wanted import NotNeeded
from pipelines.parent import end_with_parent
from pipelines.weight_files import BadWeights

#: Seconds between two looks at how much has arrived.
_LOOK_EVERY_S = 0.5
#: How many looks the rate is averaged over.
_RATE_OVER = 20


class Lines(logging.Handler):
    """A log handler that writes log records, and other messages, as lines of standard output."""

    def __init__(self) -> None:
        super().__init__()
        self._one_line = threading.Lock()

    def tell(self, message: Message) -> None:
        """Write a message. Ends the process if nobody reads any more."""
        with self._one_line:
            try:
                os.write(sys.stdout.fileno(), encode(message))
            except BrokenPipeError:
                os._exit(1)

    def emit(self, record: logging.LogRecord) -> None:
        self.tell(Logged(record.levelno, self.format(record)))


def main() -> None:
    end_with_parent()
    hub, revision, variant = sys.argv[1], sys.argv[2] or None, sys.argv[3] or None
    file = Path(sys.argv[4]) if sys.argv[4] else None
    # Let generation have the CPU first.
    os.nice(10)
    lines = Lines()
    logging.basicConfig(level=logging.WARNING, handlers=[lines])
    try:
        download = plan(hub, revision, variant, file, pickle="pickle" in sys.argv[5:])
        threading.Thread(target=_tell_progress, args=(download, lines), name="progress", daemon=True).start()
        folder = download.run()
    except (NotNeeded, BadWeights, Damaged) as error:
        lines.tell(Refused(f"{hub}: {error}"))
        sys.exit(1)
    except Exception as error:
        if not isinstance(error, EXPECTED):
            logging.getLogger(__name__).exception("%s could not be downloaded", hub)
        lines.tell(Refused(why_refused(hub, revision, error)))
        sys.exit(1)
    lines.tell(Downloaded(str(folder), download.total_bytes))


def _tell_progress(download: Download, lines: Lines) -> None:
    """Tell how much has arrived, at once and whenever it changes, for as long as the process lives."""
    seen = deque([(time.monotonic(), download.done_bytes)], maxlen=_RATE_OVER)
    told = None
    while True:
        now, bytes_ = time.monotonic(), download.done_bytes
        rate = (bytes_ - seen[0][1]) / max(now - seen[0][0], _LOOK_EVERY_S)
        if bytes_ != told:
            lines.tell(Progress(bytes_, download.total_bytes, round(rate)))
            told = bytes_
        seen.append((now, bytes_))
        time.sleep(_LOOK_EVERY_S)


if __name__ == "__main__":
    main()
