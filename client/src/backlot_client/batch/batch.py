"""Runs a batch: submits, follows and fetches a few rows at a time, and notes each in the journal before each step."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Protocol

import msgspec

from backlot_client.answers import Artifact, Job, JobEvent
from backlot_client.async_client import AsyncClient
from backlot_client.batch.journal import Journal, Record, State
from backlot_client.batch.plan import Next, next_for
from backlot_client.batch.table import Row
from backlot_client.errors import (
    ApiError,
    BacklotError,
    Forbidden,
    InsufficientBalance,
    JobFailed,
    NotFound,
    RateLimited,
    Unauthorized,
)
from backlot_client.names import check_template, file_name, fits, unused
from backlot_client.partial_file import discard_parts
from backlot_client.spec import BackgroundSpec

#: The field of a job's metadata that says which row it is of. It is that row's idempotency key.
MARK = "backlot_batch"
#: Seconds by which the clocks of the server and of this machine may differ.
CLOCKS_DIFFER_S = 2 * 3600.0
_PAGE = 200


class Watcher(Protocol):
    """Hears how a batch goes on."""

    def started(self, row: Row) -> None: ...
    def happened(self, row: Row, event: JobEvent) -> None: ...
    def ended(self, row: Row, record: Record | None) -> None: ...


class Result(msgspec.Struct, frozen=True):
    row: int
    #: None if the row was not begun.
    state: State | None
    job_id: str = ""
    files: list[str] = []
    message: str = ""


class Batch:
    """One run over the rows of a table. Raises TemplateError before anything is sent if a row's file cannot be named."""

    def __init__(
        self,
        client: AsyncClient,
        journal: Journal,
        folder: Path,
        rows: Sequence[Row],
        *,
        template: str,
        watcher: Watcher,
        at_once: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        for row in rows:
            check_template(template, row.spec, row=row.number)
        self._client = client
        self._journal = journal
        self._folder = folder
        self._rows = rows
        self._template = template
        self._watcher = watcher
        self._at_once = at_once
        self._clock = clock
        #: Why no more rows are begun; None if more are.
        self.obstacle: BacklotError | OSError | None = None

    async def run(self) -> list[Result]:
        """Do what is left to do, and return how each row stands. `obstacle` then says what stopped it, if anything did."""
        self._forget_long_names()
        try:
            await self._find_lost_jobs([row for row in self._rows if self._next(row) is Next.LOOK_FOR_JOB])
        except BacklotError as error:
            self.obstacle = error
        left = [row for row in self._rows if self._next(row) is not Next.NOTHING]
        # Rows that are paid come first, so that their pictures are fetched even if there are no credits for more.
        queue = deque(sorted(left, key=lambda row: self._next(row) is Next.SUBMIT))
        workers = [asyncio.ensure_future(self._work(queue)) for _ in range(min(self._at_once, len(queue)))]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        return [self._result(row) for row in self._rows]

    def _forget_long_names(self) -> None:
        """Let a picture have another name if its own is too long for any disk: earlier versions chose such names."""
        for record in list(self._journal.records.values()):
            if not all(map(fits, record.files)):
                self._journal.change(record, state=State.ACCEPTED, files=[], sizes=[])

    def _next(self, row: Row) -> Next:
        record = self._journal.records.get(row.identity)
        return next_for(record, record is not None and self._files_are_there(record), self._clock())

    def _files_are_there(self, record: Record) -> bool:
        paths = [self._folder / name for name in record.files]
        return [path.stat().st_size if path.is_file() else None for path in paths] == record.sizes

    async def _work(self, queue: deque[Row]) -> None:
        while queue and self.obstacle is None:
            row = queue.popleft()
            self._watcher.started(row)
            try:
                await self._carry_on(row)
            except (BacklotError, OSError) as error:
                self.obstacle = self.obstacle or error
            self._watcher.ended(row, self._journal.records.get(row.identity))

    async def _carry_on(self, row: Row) -> None:
        step = self._next(row)
        record = self._journal.records.get(row.identity)
        if record is None or step is Next.SUBMIT:
            record = self._journal.put(self._new_record(row, record))
            step = Next.SUBMIT_AGAIN
        if step is Next.SUBMIT_AGAIN:
            record = await self._submit(record)
        if record.state is State.DONE:
            # Its file was removed; until it is back the row is not done.
            record = self._journal.change(record, state=State.ACCEPTED, sizes=[])
        if record.state is not State.REFUSED:
            await self._fetch(row, record)

    def _new_record(self, row: Row, last: Record | None) -> Record:
        job_number = 1 if last is None else last.job_number + 1
        key = f"{self._journal.batch_id}-{row.identity}-{job_number}"
        spec = msgspec.structs.replace(row.spec, metadata={**row.spec.metadata, MARK: key})
        return Record(
            identity=row.identity,
            state=State.SENDING,
            job_number=job_number,
            idempotency_key=key,
            body=msgspec.json.encode(spec).decode(),
            sent_at=self._clock(),
        )

    async def _submit(self, record: Record) -> Record:
        try:
            accepted = await self._client.submit_body(BackgroundSpec.path, record.body.encode(), record.idempotency_key)
        except ApiError as error:
            if error.status >= 500 or isinstance(error, RateLimited):
                # An earlier try may have made the job before its answer was lost, so the row stays as it is.
                raise
            if isinstance(error, (Unauthorized, Forbidden, InsufficientBalance)):
                self.obstacle = self.obstacle or error
            return self._journal.change(record, state=State.REFUSED, message=str(error))
        return self._journal.change(record, state=State.ACCEPTED, job_id=accepted.job_id, message="")

    async def _fetch(self, row: Row, record: Record) -> None:
        try:
            job = await self._client.wait(record.job_id, on_event=lambda event: self._watcher.happened(row, event))
        except JobFailed as failure:
            self._journal.change(record, state=State.FAILED, message=f"{failure.code}: {failure}")
            return
        except NotFound as error:
            raise NotFound(
                f"Row {row.number} has the job {record.job_id}, which this server does not know for this key; "
                f"use the address and the key that {self._folder} was begun with",
                code=error.code,
                request_id=error.request_id,
                status=error.status,
            ) from error
        if not record.files:
            record = self._journal.change(record, files=self._names(row, job))
        try:
            sizes = [await self._download(job, index, name) for index, name in enumerate(record.files)]
        except NotFound:
            # The row is paid. Whether to pay again is for the user to decide.
            message = f"the server no longer has the picture of job {job.public_id}"
            self._journal.change(record, state=State.ACCEPTED, message=message)
        else:
            self._journal.change(record, state=State.DONE, sizes=sizes, message="")

    def _names(self, row: Row, job: Job) -> list[str]:
        taken = {name.lower() for record in self._journal.records.values() for name in record.files}
        names: list[str] = []
        for image in job.images:
            wanted = file_name(self._template, row.spec, image, job.public_id, row=row.number)
            name = unused(wanted, lambda found: found.lower() in taken or (self._folder / found).exists())
            taken.add(name.lower())
            names.append(name)
        return names

    async def _download(self, job: Job, index: int, name: str) -> int:
        """Download an image, and return the bytes of its file."""
        path = self._folder / name
        discard_parts(path)
        image: Artifact = job.images[index]
        try:
            await self._client.download(image, path)
        except Forbidden:
            # The link has expired, perhaps while the machine slept. The job has a new one.
            image = (await self._client.job(job.public_id)).images[index]
            await self._client.download(image, path)
        return path.stat().st_size

    async def _find_lost_jobs(self, rows: list[Row]) -> None:
        """Find the jobs of rows whose submission was cut off so long ago that their keys no longer protect them."""
        lost = {record.idempotency_key: record for row in rows if (record := self._journal.records.get(row.identity))}
        if not lost:
            return
        # The last use of a key is not known, only the first, so all jobs since then are read.
        first = min(record.sent_at for record in lost.values()) - CLOCKS_DIFFER_S
        after = datetime.fromtimestamp(first, timezone.utc)
        offset = 0
        while lost and (page := (await self._client.whole_jobs(created_after=after, limit=_PAGE, offset=offset)).jobs):
            offset += len(page)
            for job in page:
                if record := lost.pop(job.request.get("metadata", {}).get(MARK), None):
                    self._journal.change(record, state=State.ACCEPTED, job_id=job.public_id)
        for record in lost.values():
            self._journal.change(record, state=State.FAILED, message="its submission never reached the server")

    def _result(self, row: Row) -> Result:
        record = self._journal.records.get(row.identity)
        if record is None:
            return Result(row.number, None)
        return Result(row.number, record.state, record.job_id, record.files, record.message)
