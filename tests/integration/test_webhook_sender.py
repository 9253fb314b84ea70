"""The sender of webhooks on a real ledger and real sockets, without a GPU process."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from server.api.links import Links
from server.api.views import Linker
from server.ledger import clients, webhooks
from server.ledger.connection import connect, migrate
from server.ledger.database import Database
from server.ledger.webhooks import DeliveryReport, WebhookEvent
from server.webhooks.admission import PER_CLIENT
from server.webhooks.sender import POLL_S, WebhookSender
from tests.support.ledger import ended_job

#: More clients than requests that may be under way at once.
MANY = 80

#: An action of a receiver before it answers.
Work = Callable[[], Awaitable[None]]


class Box:
    """A ledger and the receivers of its clients."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @asynccontextmanager
    async def receiving(self, work: Work) -> AsyncIterator[tuple[str, list[str]]]:
        """Run a receiver that answers 204; yield its URL and the ids of what it has received."""
        ids: list[str] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    head = (await reader.readuntil(b"\r\n\r\n")).decode()
                    ids.append(re.findall(r"webhook-id: (\w+)", head)[0])
                    await reader.readexactly(int(re.findall(r"content-length: (\d+)", head, re.IGNORECASE)[0]))
                    await work()
                    writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", ids
        finally:
            server.close()

    @asynccontextmanager
    async def sending(self) -> AsyncIterator[None]:
        linker = Linker(Links(b"secret", 60), "http://backlot")
        task = asyncio.create_task(WebhookSender(self.database, linker).run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def client(self, name: str, url: str) -> int:
        """Make a client with a webhook and return its id."""
        client_id = await self.database.write(lambda c: clients.add(c, name, test=False))
        await self.database.write(lambda c: webhooks.put(c, client_id, url, list(WebhookEvent), "whsec_c2VjcmV0"))
        return client_id

    async def end_jobs(self, client_id: int, count: int = 1) -> None:
        for _ in range(count):
            await self.database.write(lambda c: ended_job(c, client_id))

    async def deliveries(self) -> list[DeliveryReport]:
        return await self.database.read(lambda c: webhooks.deliveries(c, None, only_failed=False, limit=1000))


def on_a_box(path: Path, test: Callable[[Box], Coroutine[None, None, None]]) -> None:
    async def run() -> None:
        migrate(path / "backlot.db")
        database = Database(path / "backlot.db")
        try:
            await test(Box(database))
        finally:
            database.close()

    asyncio.run(run())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  the condition is what a receiver in this loop has noted
            await asyncio.sleep(0.02)


async def hang() -> None:
    await asyncio.Event().wait()


async def nothing() -> None:
    pass


def test_a_good_receiver_is_told_while_all_others_hang(tmp_path: Path) -> None:
    async def run(box: Box) -> None:
        async with box.receiving(hang) as (bad_url, hanging), box.receiving(nothing) as (good_url, told), box.sending():
            for number in range(MANY):
                await box.end_jobs(await box.client(f"bad-{number}", bad_url), 2)
            await until(lambda: len(hanging) >= MANY)
            await box.end_jobs(await box.client("good", good_url))
            await until(lambda: bool(told))
            others = {row.tries for row in await box.deliveries() if row.client != "good"}
            assert others == {0}, "the time of the others was up before"

    on_a_box(tmp_path, run)


def test_a_burst_is_told_once_each_and_a_few_at_a_time(tmp_path: Path) -> None:
    under_way, most = 0, 0

    async def work() -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.005)
        under_way -= 1

    async def run(box: Box) -> None:
        async with box.receiving(work) as (url, told), box.sending():
            await box.end_jobs(await box.client("studio", url), 200)
            await until(lambda: len(told) >= 200)
        found = await box.deliveries()
        assert {row.state for row in found} == {"delivered"}
        assert sorted(told) == sorted(row.id for row in found)

    on_a_box(tmp_path, run)
    assert most == PER_CLIENT


def test_a_stop_lets_an_answer_come_and_a_start_goes_on(tmp_path: Path) -> None:
    async def run(box: Box) -> None:
        slowly = asyncio.Event()

        async def work() -> None:
            slowly.set()
            await asyncio.sleep(0.3)

        async with box.receiving(work) as (url, told):
            client_id = await box.client("studio", url)
            async with box.sending():
                await box.end_jobs(client_id)
                await slowly.wait()
            assert [row.state for row in await box.deliveries()] == ["delivered"]
            await box.end_jobs(client_id)
            async with box.sending():
                await until(lambda: len(told) == 2)
        assert {row.state for row in await box.deliveries()} == {"delivered"}

    on_a_box(tmp_path, run)


def test_what_a_stop_cuts_off_is_sent_again_with_its_id(tmp_path: Path) -> None:
    async def run(box: Box) -> None:
        async with box.receiving(hang) as (bad_url, cut_off), box.receiving(nothing) as (good_url, told):
            client_id = await box.client("studio", bad_url)
            await box.end_jobs(client_id)
            async with box.sending():
                await until(lambda: bool(cut_off))
            [row] = await box.deliveries()
            assert (row.state, row.tries) == ("pending", 0)
            await box.database.write(
                lambda c: webhooks.put(c, client_id, good_url, list(WebhookEvent), "whsec_c2VjcmV0")
            )
            async with box.sending():
                await until(lambda: bool(told))
            assert cut_off == told == [row.id]

    on_a_box(tmp_path, run)


def test_a_webhook_that_is_removed_meanwhile_stays_removed(tmp_path: Path) -> None:
    async def run(box: Box) -> None:
        removed = asyncio.Event()

        async def work() -> None:
            await removed.wait()

        async with box.receiving(work) as (url, told), box.sending():
            client_id = await box.client("studio", url)
            await box.end_jobs(client_id, 9)
            await until(lambda: len(told) == PER_CLIENT)
            assert await box.database.write(lambda c: webhooks.remove(c, client_id))
            removed.set()
        assert {(row.state, row.error) for row in await box.deliveries()} == {("dead", "the webhook was removed")}
        assert len(told) == PER_CLIENT

    on_a_box(tmp_path, run)


def test_an_answer_that_cannot_be_noted_is_not_asked_for_again(tmp_path: Path) -> None:
    """Lock the database just before the answer; for that time the outbox says that the delivery is due."""

    async def run(box: Box) -> None:
        other = connect(box.database.path)

        async def work() -> None:
            other.execute("BEGIN IMMEDIATE")

        async with box.receiving(work) as (url, told):
            client_id = await box.client("studio", url)
            await box.end_jobs(client_id)
            async with box.sending():
                await until(lambda: box.database.locked_since is not None)
                await asyncio.sleep(4 * POLL_S)
                other.execute("ROLLBACK")
                await until(lambda: box.database.locked_since is None)
        other.close()
        assert len(told) == 1
        assert [(row.state, row.tries) for row in await box.deliveries()] == [("delivered", 1)]

    on_a_box(tmp_path, run)
