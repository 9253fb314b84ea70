"""`backlot-client batch`: a picture for each row of a file; run again, it goes on where it was stopped."""

import asyncio
from argparse import Namespace
from collections import Counter
from contextlib import closing

import msgspec
from rich.progress import TaskID

from backlot_client.answers import JobEvent
from backlot_client.async_client import AsyncClient
from backlot_client.batch.batch import Batch, Result
from backlot_client.batch.journal import Journal, Record, State
from backlot_client.batch.table import Row, read_rows
from backlot_client.client import Client
from backlot_client.command.bars import Bars
from backlot_client.command.output import print_json, print_line, print_remark
from backlot_client.retries import Retries

#: Rows with a bar of their own; more would not fit a terminal.
_SHOWN = 12


class Summary(msgspec.Struct, frozen=True):
    rows: int
    done: int
    failed: int
    refused: int
    #: Not begun, or begun and not finished.
    left: int
    #: Why no more rows were begun; None if nothing stopped the batch.
    stopped_by: str | None
    results: list[Result]


def batch(arguments: Namespace) -> int:
    """Make a picture for each row, and return the exit status: 0 if every row's picture is there."""
    rows = read_rows(arguments.file)
    # This call fails soon if the address or the key is wrong. Later calls are tried for longer, as over a restart.
    with Client(arguments.url, arguments.key, retries=Retries(total_s=5)) as client:
        client.credits()
    with closing(Journal(arguments.output)) as journal, Bars() as bars:
        summary = asyncio.run(_run(arguments, rows, journal, bars))
    if arguments.json:
        print_json(summary)
    else:
        _tell(summary)
    return 0 if summary.done == summary.rows else 1


async def _run(arguments: Namespace, rows: list[Row], journal: Journal, bars: Bars) -> Summary:
    watcher = _BarWatcher(bars, len(rows), quiet=arguments.json)
    async with AsyncClient(arguments.url, arguments.key, retries=Retries(total_s=600)) as client:
        batch_ = Batch(
            client,
            journal,
            arguments.output,
            rows,
            template=arguments.file_name,
            watcher=watcher,
            at_once=arguments.at_once,
        )
        results = await batch_.run()
    states = Counter(result.state for result in results)
    done, failed, refused = states[State.DONE], states[State.FAILED], states[State.REFUSED]
    return Summary(
        rows=len(rows),
        done=done,
        failed=failed,
        refused=refused,
        left=len(rows) - done - failed - refused,
        stopped_by=str(batch_.obstacle) if batch_.obstacle else None,
        results=results,
    )


def _tell(summary: Summary) -> None:
    for result in summary.results:
        if result.message:
            print_remark(f"row {result.row}: {result.message}")
    if summary.stopped_by:
        print_remark(f"stopped: {summary.stopped_by}")
    counts = {"failed": summary.failed, "refused": summary.refused, "left": summary.left}
    others = "".join(f", {count} {word}" for word, count in counts.items() if count)
    print_remark(f"{summary.done} of {summary.rows} rows done{others}")
    if others:
        print_remark("run the same command again to go on; what is done is not paid again")


class _BarWatcher:
    """Shows a batch: one bar for all rows, and one for each of the first few under way."""

    def __init__(self, bars: Bars, rows: int, *, quiet: bool) -> None:
        self._bars = bars
        self._all = bars.add("all rows", rows)
        self._of_row: dict[int, TaskID] = {}
        self._quiet = quiet

    def started(self, row: Row) -> None:
        if len(self._of_row) < _SHOWN:
            self._of_row[row.number] = self._bars.add(f"{row.number}: {row.spec.scene_type}, {row.spec.mood}")

    def happened(self, row: Row, event: JobEvent) -> None:
        if (bar := self._of_row.get(row.number)) is not None:
            self._bars.show(bar, event)

    def ended(self, row: Row, record: Record | None) -> None:
        if (bar := self._of_row.pop(row.number, None)) is not None:
            self._bars.remove(bar)
        self._bars.advance(self._all, "")
        if record is not None and record.state is State.DONE and not self._quiet:
            for name in record.files:
                print_line(name)
