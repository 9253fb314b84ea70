"""The rules that the ledger and the images folder keep whenever no job is under way, whatever happened before."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
from PIL import Image

from pipelines.failure_reason import FailureReason
from tests.torture.load import Submission

#: The reasons for which a job may fail under torture.
ALLOWED = {
    FailureReason.CANCELLED,
    FailureReason.SERVER_RESTARTED,
    FailureReason.STEP_TIMEOUT,
    FailureReason.WORKER_CRASHED,
    FailureReason.WRITE_TIMEOUT,
    FailureReason.LOAD_TIMEOUT,
}

#: Queries for rows that must not be there, each by a description of them.
_NEVER = {
    "a job that did not end": "SELECT public_id, status FROM jobs WHERE ended_at IS NULL OR status NOT IN ('SUCCESS', 'FAILURE')",
    "a job that was not charged its price once": """
        SELECT jobs.public_id, credits_cost, count(entries.id), total(amount) FROM jobs
        LEFT JOIN entries ON entries.job_id = jobs.id AND entries.kind = 'charge'
        GROUP BY jobs.id HAVING count(entries.id) <> 1 OR total(amount) <> -credits_cost""",
    "a failure that was not refunded its price once": """
        SELECT jobs.public_id, credits_cost, count(entries.id), total(amount) FROM jobs
        LEFT JOIN entries ON entries.job_id = jobs.id AND entries.kind = 'refund' WHERE status = 'FAILURE'
        GROUP BY jobs.id HAVING count(entries.id) <> 1 OR total(amount) <> credits_cost""",
    "a success that was refunded": """
        SELECT jobs.public_id FROM jobs JOIN entries ON entries.job_id = jobs.id
        WHERE status = 'SUCCESS' AND entries.kind = 'refund'""",
    "a balance that is not the sum of its entries": """
        SELECT name, balance, total(amount) FROM clients LEFT JOIN entries ON entries.client_id = clients.id
        GROUP BY clients.id HAVING balance <> total(amount)""",
    "events with a gap, or another last number than the job's": """
        SELECT public_id, last_seq, min(seq), max(seq), count(*) FROM jobs LEFT JOIN events ON events.job_id = jobs.id
        GROUP BY jobs.id HAVING min(seq) IS NOT 1 OR max(seq) <> last_seq OR count(*) <> last_seq""",
    "events of a job whose cursors do not ascend": """
        SELECT cursor FROM (SELECT cursor, lag(cursor) OVER (PARTITION BY job_id ORDER BY seq) AS before FROM events)
        WHERE cursor <= before""",
    "a job whose only end is not its last event, or another than its status": """
        SELECT public_id, status, group_concat(event_type || ' ' || seq) FROM jobs JOIN events ON events.job_id = jobs.id
        WHERE event_type IN ('succeeded', 'failed')
        GROUP BY jobs.id HAVING count(*) <> 1 OR max(seq) <> last_seq
            OR max(event_type) <> CASE status WHEN 'SUCCESS' THEN 'succeeded' ELSE 'failed' END""",
    "a job without an end among its events": """
        SELECT public_id FROM jobs WHERE id NOT IN (SELECT job_id FROM events WHERE event_type IN ('succeeded', 'failed'))""",
    "an end that says another refund than was made": """
        SELECT public_id, extra FROM jobs JOIN events ON events.job_id = jobs.id
        WHERE event_type = 'failed' AND json_extract(extra, '$.refunded') IS NOT credits_cost""",
    "an end without its row in the outbox": """
        SELECT public_id, status FROM jobs WHERE id NOT IN (SELECT job_id FROM webhook_deliveries
            WHERE event = CASE jobs.status WHEN 'SUCCESS' THEN 'job.succeeded' ELSE 'job.failed' END)""",
    "a failure with artifacts or catalogue entries": """
        SELECT public_id FROM jobs WHERE status = 'FAILURE'
        AND (id IN (SELECT job_id FROM artifacts) OR id IN (SELECT job_id FROM catalog))""",
    "an artifact that is not in the catalogue once": """
        SELECT path FROM artifacts LEFT JOIN catalog ON catalog.artifact_id = artifacts.id
        GROUP BY artifacts.id HAVING count(catalog.id) <> 1""",
    "a job whose price is not in the request log once": """
        SELECT jobs.public_id, credits_cost, count(request_logs.id), total(credits) FROM jobs
        LEFT JOIN request_logs ON request_logs.job_id = jobs.public_id AND credits <> 0
        GROUP BY jobs.id HAVING count(request_logs.id) <> 1 OR total(credits) <> credits_cost""",
}


class Broken(Exception):
    """A rule that must always hold does not."""


def check(
    data: Path, sent: Sequence[Submission], new: Sequence[Submission], followed: Sequence[dict[str, Any]]
) -> None:
    """Check a data folder whose jobs are all in `sent`; open the images of the `new` ones only.

    `followed` are the client's events as they came. Raises Broken with every rule that does not hold.
    """
    with closing(sqlite3.connect(f"{data.as_uri()}/backlot.db?mode=ro", uri=True)) as connection:
        broken = [*_of_rows(connection), *_of_jobs(connection, sent), *_of_events(connection, followed)]
        broken += [*_of_files(connection, data / "images"), *_of_images(connection, data / "images", new)]
    if broken:
        raise Broken("\n".join(broken))


def _of_rows(connection: sqlite3.Connection) -> Iterator[str]:
    for what, query in _NEVER.items():
        if found := connection.execute(query).fetchall():
            yield f"{what}: {found[:5]}"
    for (extra,) in connection.execute("SELECT extra FROM events WHERE event_type = 'failed'"):
        if (reason := msgspec.json.decode(extra)["reason"]) not in ALLOWED:
            yield f"a job failed for the reason {reason}"


def _of_jobs(connection: sqlite3.Connection, sent: Sequence[Submission]) -> Iterator[str]:
    known = {row[0] for row in connection.execute("SELECT public_id FROM jobs")}
    answered = {submission.job_id for submission in sent}
    if len(answered) != len(sent):
        yield f"{len(sent)} idempotency keys were answered with {len(answered)} jobs"
    if lost := answered - known:
        yield f"accepted jobs that are not in the ledger: {lost}"
    if more := known - answered:
        yield f"jobs that no client was told of: {more}"


def _of_events(connection: sqlite3.Connection, followed: Sequence[dict[str, Any]]) -> Iterator[str]:
    kept = connection.execute("SELECT cursor, event_type FROM events ORDER BY cursor").fetchall()
    came = [(event["cursor"], event["event_type"]) for event in followed]
    if came != kept:
        differ = next((pair for pair in zip(came, kept, strict=False) if pair[0] != pair[1]), None)
        yield f"{len(kept)} events are kept, and {len(came)} came to the one who follows; the first that differ: {differ}"


def _of_files(connection: sqlite3.Connection, folder: Path) -> Iterator[str]:
    kept = {row[0] for row in connection.execute("SELECT path FROM artifacts")}
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    if orphans := there - kept:
        yield f"files of no artifact: {sorted(orphans)[:5]}"
    if missing := kept - there:
        yield f"artifacts without their file: {sorted(missing)[:5]}"


def _of_images(connection: sqlite3.Connection, folder: Path, new: Sequence[Submission]) -> Iterator[str]:
    #: The pixels of each seed.
    pixels: dict[int, bytes] = {}
    for submission in new:
        rows = connection.execute(
            "SELECT path, json_extract(meta, '$.seed') FROM artifacts JOIN jobs ON jobs.id = job_id"
            " WHERE jobs.public_id = ? AND status = 'SUCCESS' ORDER BY artifacts.id",
            (submission.job_id,),
        ).fetchall()
        first = submission.body["seed"]
        if rows and [seed for _, seed in rows] != list(range(first, first + submission.images)):
            yield f"{submission.images} images of {submission.job_id} have the seeds {[seed for _, seed in rows]}"
        for path, seed in rows:
            try:
                with Image.open(folder / path) as image:
                    shown = image.tobytes()
            except (OSError, SyntaxError) as error:
                yield f"{path} does not open: {error}"
                continue
            if pixels.setdefault(seed, shown) != shown:
                yield f"{path} differs from another image of its seed {seed}"
