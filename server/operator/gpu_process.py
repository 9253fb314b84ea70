"""A GPU process of a command's own."""

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from typing import TypeVar

from pipelines.model_card import ModelCard
from pipelines.protocol import CannotStart, Load, Loaded, LoadFailed, Order, Report
from server.data_folder import explained
from server.operator.errors import CommandError
from server.scheduler.process import GpuProcess
from server.settings import Settings

log = logging.getLogger(__name__)

T = TypeVar("T")


async def ask(settings: Settings, purpose: str, orders: Sequence[Order], answer: Callable[[Report], T | None]) -> T:
    """Return the first answer that a new GPU process gives to orders; its log goes to a folder named for the purpose.

    `answer` returns None for a report that is not the answer yet. Raises CommandError, as `answer` may.
    """
    done: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def on_report(report: Report) -> None:
        if done.done():
            return
        if isinstance(report, CannotStart):
            done.set_exception(CommandError(report.message))
            return
        try:
            found = answer(report)
        except CommandError as error:
            done.set_exception(error)
            return
        if found is None:
            log.debug("%s", report)
        else:
            done.set_result(found)

    def on_exit(status: int) -> None:
        if not done.done():
            done.set_exception(
                CommandError(f"the GPU process ended with status {status}; its log, {log_file}, says why")
            )

    # The server's own work comes first, so the process is nice, and its log is not the server's.
    log_file = settings.logs / purpose / "gpu-process.log"
    try:
        log_file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(explained(log_file.parent, error)) from error
    os.nice(10)
    process = GpuProcess(settings.local_devices[0], settings.memory_gib, log_file, silent=True)
    process.follow(on_report, on_exit)
    for order in orders:
        process.send(order)
    try:
        return await done
    finally:
        process.kill()
        await asyncio.to_thread(process.wait, 10)


def load_alone(settings: Settings, card: ModelCard) -> Loaded:
    """Load a model to see whether it loads, and return the report. Raises CommandError if it cannot be loaded."""

    def answer(report: Report) -> Loaded | None:
        if isinstance(report, LoadFailed):
            raise CommandError(report.message)
        return report if isinstance(report, Loaded) else None

    return asyncio.run(ask(settings, "check", [Load(card)], answer))
