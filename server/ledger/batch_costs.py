"""What denoiser calls cost on this box, kept between runs."""

import sqlite3
from datetime import timedelta

import msgspec

from pipelines.batch_choice import Measurement, SizeKey
from server.clock import ago, now

#: At a start, shapes that did not fit so long ago are tried again.
TRIED_AGAIN_AFTER = timedelta(days=1)


def note(connection: sqlite3.Connection, found: Measurement) -> None:
    """Keep a measurement; those of other weights of the same model are removed."""
    connection.execute("DELETE FROM sizes WHERE model = ? AND revision <> ?", (found.key.model, found.revision))
    connection.execute(
        "INSERT OR REPLACE INTO sizes"
        " (model, device, width, height, shape, revision, seconds_per_step, peak_bytes, measured_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            found.key.model,
            found.key.device,
            found.key.width,
            found.key.height,
            found.shape,
            found.revision,
            found.seconds_per_step,
            found.peak_bytes,
            now(),
        ),
    )


class BatchCost(msgspec.Struct, frozen=True, kw_only=True):
    """What one call of a denoiser was measured to cost; no seconds if it did not fit into memory."""

    model: str
    device: str
    width: int
    height: int
    shape: int
    revision: str
    seconds_per_step: float | None
    peak_bytes: int | None
    measured_at: str


def all_(connection: sqlite3.Connection) -> list[BatchCost]:
    """Return every measurement kept, by model, device and size."""
    rows = connection.execute("SELECT * FROM sizes ORDER BY model, device, width, height, shape")
    return [BatchCost(**row) for row in map(dict, rows)]


def known(connection: sqlite3.Connection) -> list[Measurement]:
    """Every measurement, smallest shapes first, but for what did not fit some time ago: that is tried again, since another
    program may have had the memory."""
    return [
        Measurement(
            SizeKey(row["model"], row["device"], row["width"], row["height"]),
            row["shape"],
            row["revision"],
            row["seconds_per_step"],
            row["peak_bytes"],
        )
        for row in connection.execute(
            "SELECT * FROM sizes WHERE seconds_per_step IS NOT NULL OR measured_at > ?"
            " ORDER BY model, device, width, height, shape",
            (ago(TRIED_AGAIN_AFTER),),
        )
    ]
