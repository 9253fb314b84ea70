"""The lines of the logs that belong to a job that failed."""

from datetime import datetime
from pathlib import Path

import msgspec
import pytest

from server.jobs import JobStatus, JobType
from server.ledger.job_reports import JobReport
from server.log_lines import MOST_LINES, lines_about

JOB = JobReport(
    public_id="01J00000000000000000000001",
    client="studio",
    job_type=JobType.BACKGROUND_GENERATOR,
    status=JobStatus.FAILURE,
    display_name="d",
    model="m",
    images=1,
    credits_cost=5,
    refunded=5,
    reason="worker_crashed",
    message="m",
    created_at="2026-01-01T10:00:00.000000Z",
    started_at="2026-01-01T10:00:05.000000Z",
    ended_at="2026-01-01T10:00:09.000000Z",
)


def line(second: float, level: str, text: str) -> str:
    """Return a line of a log, which is written in the time of the box."""
    moment = datetime.fromisoformat(f"2026-01-01T10:00:{second:06.3f}+00:00").astimezone()
    return f"{moment:%Y-%m-%d %H:%M:%S},{moment.microsecond // 1000:03} {level} x: {text}\n"


def about(logs: Path, *jobs: JobReport) -> list[list[str]]:
    return [[each.text.split(" x: ")[-1] for each in lines] for lines in lines_about(logs, jobs)]


@pytest.mark.parametrize(
    ("second", "level", "text", "is_of_the_job"),
    [
        (1, "INFO", f"Job {JOB.public_id} was taken", True),
        (7, "INFO", "Loaded m", False),
        (7, "WARNING", "Out of memory", True),
        (7, "ERROR", "The GPU process is gone", True),
        (9.5, "ERROR", "The GPU process is gone", True),
        (3, "ERROR", "Something before it ran", False),
        (12, "ERROR", "Something after its end", False),
        (7, "WARNING", "Job 01J00000000000000000000002 of m ended: it broke", False),
        (9, "WARNING", f"Job {JOB.public_id} of m ended: it broke", True),
    ],
)
def test_what_names_the_job_and_what_went_wrong_while_it_ran(
    tmp_path: Path, second: float, level: str, text: str, is_of_the_job: bool
) -> None:
    (tmp_path / "server.log").write_text(line(second, level, text))
    assert about(tmp_path, JOB) == [[text] if is_of_the_job else []]


def test_the_logs_of_all_processes_are_told_by_time_with_their_tracebacks(tmp_path: Path) -> None:
    (tmp_path / "server.log").write_text(line(6, "ERROR", "first") + line(8, "ERROR", "third"))
    (tmp_path / "gpu-process-cuda-1.log").write_text(line(7, "ERROR", "second") + "  Traceback\n  ValueError: no\n")
    other = msgspec.structs.replace(JOB, public_id="other", started_at=None, ended_at="2026-01-01T11:00:00.000000Z")
    assert about(tmp_path, JOB, other) == [["first", "second", "  Traceback", "  ValueError: no", "third"], []]


def test_a_log_without_end_is_cut_at_its_beginning(tmp_path: Path) -> None:
    (tmp_path / "server.log").write_text("".join(line(7, "ERROR", f"error {number}") for number in range(30_000)))
    (found,) = about(tmp_path, JOB)
    assert len(found) == MOST_LINES
    assert found[-1] == "error 29999"
