"""Finds what the logs say of a job that failed."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from server.ledger.job_reports import JobReport

#: Bytes at the end of each log that are searched.
SEARCHED = 2_000_000
#: Lines of one failure at most, and characters of each.
MOST_LINES = 40
MOST_CHARACTERS = 1000
#: A crash may be logged a moment before or after the end of the job that it fails.
SLACK = timedelta(seconds=1)

#: `2026-11-25 23:01:58,123 ERROR pipelines.worker: …`, in the time of the box.
_LINE = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) ([A-Z]+) ")


class LogLine(msgspec.Struct, frozen=True):
    #: The file's name.
    file: str
    text: str


class _Message(msgspec.Struct):
    """A message with its traceback."""

    file: str
    moment: datetime
    level: str
    text: str


def lines_about(logs: Path, jobs: Sequence[JobReport]) -> list[list[LogLine]]:
    """Return for each job the lines that name it, and the warnings and errors written while it ran; oldest first."""
    messages = sorted(
        (message for file in (logs / "server.log", *logs.glob("gpu-process*.log")) for message in _messages(file)),
        key=lambda message: message.moment,
    )
    return [_lines(messages, job) for job in jobs]


def _lines(messages: Sequence[_Message], job: JobReport) -> list[LogLine]:
    began = datetime.fromisoformat(job.started_at or job.ended_at or job.created_at) - SLACK
    ended = datetime.fromisoformat(job.ended_at or job.created_at) + SLACK
    found: list[LogLine] = []
    for message in messages:
        near = message.level in ("WARNING", "ERROR", "CRITICAL") and began <= message.moment <= ended
        # The end of another job is no news of this one.
        others = " ended: " in message.text and job.public_id not in message.text
        if job.public_id in message.text or (near and not others):
            found += [LogLine(message.file, line[:MOST_CHARACTERS]) for line in message.text.split("\n")]
    return found[-MOST_LINES:]


def _messages(path: Path) -> list[_Message]:
    """Return the messages at the end of a log; none if there is no log."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - SEARCHED))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return []
    messages: list[_Message] = []
    for line in text.splitlines():
        if begins := _LINE.match(line):
            moment = datetime.strptime(begins[1], "%Y-%m-%d %H:%M:%S,%f").astimezone(UTC)
            messages.append(_Message(path.name, moment, begins[2], line))
        elif messages:
            messages[-1].text += f"\n{line}"
    return messages
