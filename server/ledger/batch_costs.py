"""The measured costs of denoiser calls on this box, kept between runs."""

import sqlite3
from datetime import timedelta

import msgspec

from pipelines.batch_choice import BatchCost, CostKey
from server.clock import ago, now
from server.ledger.rows import read

#: A batch size that did not fit, longer ago than this, is tried again at the next start.
TRIED_AGAIN_AFTER = timedelta(days=1)


def note(connection: sqlite3.Connection, found: BatchCost) -> None:
    """Keep a cost, with the least working memory seen so far, and remove the model's costs of other cost revisions."""
    connection.execute("DELETE FROM sizes WHERE model = ? AND revision <> ?", (found.key.model, found.cost_revision))
    connection.execute(
        "INSERT INTO sizes"
        " (model, device, width, height, shape, revision, seconds_per_step, peak_bytes, working_bytes, measured_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
        " seconds_per_step = excluded.seconds_per_step, peak_bytes = excluded.peak_bytes,"
        " working_bytes = coalesce(min(working_bytes, excluded.working_bytes), working_bytes, excluded.working_bytes),"
        " measured_at = excluded.measured_at",
        (
            found.key.model,
            found.key.device,
            found.key.width,
            found.key.height,
            found.batch_size,
            found.cost_revision,
            found.seconds_per_step,
            found.peak_bytes,
            found.working_bytes,
            now(),
        ),
    )


class CostRow(msgspec.Struct, frozen=True, kw_only=True):
    """The measured cost of a denoising step of a batch; without seconds if the batch did not fit into memory."""

    model: str
    device: str
    width: int
    height: int
    shape: int
    revision: str
    seconds_per_step: float | None
    peak_bytes: int | None
    measured_at: str
    working_bytes: int | None


def all_(connection: sqlite3.Connection) -> list[CostRow]:
    """Return every cost, by model, device and size."""
    rows = connection.execute("SELECT * FROM sizes ORDER BY model, device, width, height, shape")
    return [read(row, CostRow) for row in rows]


def known(connection: sqlite3.Connection) -> list[BatchCost]:
    """Return every cost, the smallest batch sizes first.

    A batch size that did not fit some time ago is left out and so is tried again: another program may have had the memory.
    """
    rows = connection.execute(
        "SELECT model, device, width, height, shape, revision, seconds_per_step, peak_bytes, working_bytes FROM sizes"
        " WHERE seconds_per_step IS NOT NULL OR measured_at > ? ORDER BY model, device, width, height, shape",
        (ago(TRIED_AGAIN_AFTER),),
    )
    return [BatchCost(CostKey(*row[:4]), *row[4:]) for row in rows]
