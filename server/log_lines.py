"""What the logs say of a job that failed."""

import asyncio
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
#: A crash is logged a moment after the job it ends, or before.
SLACK = timedelta(seconds=1)

#: `2026-11-25 23:01:58,123 ERROR pipelines.worker: …`, in the time of the box.
_LINE = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) ([A-Z]+) ")


class LogLine(msgspec.Struct, frozen=True):
    #: The file's name.
    file: str
    text: str


class _Entry(msgspec.Struct, frozen=True):
    """A message with its traceback."""

    file: str
    moment: datetime
    level: str
    text: str


async def lines_about(logs: Path, jobs: Sequence[JobReport]) -> list[list[LogLine]]:
    """Return for each job the lines that name it, and the warnings and errors written while it ran; oldest first."""
    return await asyncio.to_thread(_search, logs, jobs)


def _search(logs: Path, jobs: Sequence[JobReport]) -> list[list[LogLine]]:
    entries = sorted(
        (entry for file in (logs / "server.log", *logs.glob("gpu-process*.log")) for entry in _entries(file)),
        key=lambda entry: entry.moment,
    )
    return [_lines(entries, job) for job in jobs]


def _lines(entries: Sequence[_Entry], job: JobReport) -> list[LogLine]:
    began = datetime.fromisoformat(job.started_at or job.ended_at or job.created_at) - SLACK
    ended = datetime.fromisoformat(job.ended_at or job.created_at) + SLACK
    found: list[LogLine] = []
    for entry in entries:
        near = entry.level in ("WARNING", "ERROR", "CRITICAL") and began <= entry.moment <= ended
        # Another job's end is that job's.
        others = " ended: " in entry.text and job.public_id not in entry.text
        if job.public_id in entry.text or (near and not others):
            found += [LogLine(entry.file, line[:MOST_CHARACTERS]) for line in entry.text.split("\n")]
    return found[-MOST_LINES:]


def _entries(path: Path) -> list[_Entry]:
    """Return the messages at the end of a log; none if there is no log."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - SEARCHED))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return []
    entries: list[_Entry] = []
    for line in text.splitlines():
        if begins := _LINE.match(line):
            moment = datetime.strptime(begins[1], "%Y-%m-%d %H:%M:%S,%f").astimezone(UTC)
            entries.append(_Entry(path.name, moment, begins[2], line))
        elif entries:
            last = entries[-1]
            entries[-1] = msgspec.structs.replace(last, text=f"{last.text}\n{line}")
    return entries
