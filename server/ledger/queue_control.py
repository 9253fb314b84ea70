"""The operator's control of the queue: pauses, jobs moved to the front and cancels, which outlive restarts of the server."""

import sqlite3

from server.clock import now


def pause(connection: sqlite3.Connection) -> str:
    """Pause the queue and return since when it is paused."""
    connection.execute("INSERT OR IGNORE INTO queue_pause (id, paused_at) VALUES (1, ?)", (now(),))
    return str(connection.execute("SELECT paused_at FROM queue_pause").fetchone()["paused_at"])


def resume(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM queue_pause")


def paused_at(connection: sqlite3.Connection) -> str | None:
    """Return since when the queue is paused; None if it is not."""
    row = connection.execute("SELECT paused_at FROM queue_pause").fetchone()
    return None if row is None else row["paused_at"]


def move_to_front(connection: sqlite3.Connection, public_id: str) -> None:
    """Let a job that has not ended go before all others, also before those moved there earlier."""
    connection.execute(
        "UPDATE jobs SET front = (SELECT coalesce(max(front), 0) + 1 FROM jobs"
        " WHERE status IN ('NOT_STARTED', 'IN_PROGRESS')) WHERE public_id = ?",
        (public_id,),
    )


def front(connection: sqlite3.Connection) -> list[str]:
    """Return the jobs that were moved to the front and have not ended, in the order in which they were moved."""
    rows = connection.execute(
        "SELECT public_id FROM jobs WHERE front IS NOT NULL AND status IN ('NOT_STARTED', 'IN_PROGRESS') ORDER BY front"
    )
    return [row["public_id"] for row in rows]


def ask_for_cancel(connection: sqlite3.Connection, public_id: str) -> None:
    """Let the server that runs, or the next one, cancel a job that has not ended."""
    connection.execute("UPDATE jobs SET cancel_requested_at = ? WHERE public_id = ?", (now(), public_id))


def to_cancel(connection: sqlite3.Connection) -> list[str]:
    """Return the jobs that have not ended and whose cancel was asked for."""
    rows = connection.execute(
        "SELECT public_id FROM jobs"
        " WHERE cancel_requested_at IS NOT NULL AND status IN ('NOT_STARTED', 'IN_PROGRESS') ORDER BY id"
    )
    return [row["public_id"] for row in rows]
