"""`python -m server`: run the server until it is told to stop."""

import argparse
import fcntl
import logging
import socket
import sys
from functools import partial
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO

import msgspec

from server.keys import DamagedSecret
from server.models_file import ModelsFileError
from server.models_watch import ModelsFile
from server.scheduler.process import GpuProcess, starting_with
from server.settings import Settings, SettingsError, read_settings


class AlreadyRunning(Exception):
    """Another server has this data folder."""


class CannotListen(Exception):
    """The address is taken, or is not an address of this box."""


class CannotStart(Exception):
    """The operating system refuses the GPU process."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="./scripts/serve", description="Run the Backlot server.")
    parser.add_argument("--host", help="address to listen on; 0.0.0.0 for the whole LAN (BACKLOT_HOST)")
    parser.add_argument("--port", type=_port, help="port to listen on (BACKLOT_PORT)")
    arguments = parser.parse_args()
    try:
        settings = read_settings()
        settings = msgspec.structs.replace(
            settings,
            host=arguments.host or settings.host,
            port=settings.port if arguments.port is None else arguments.port,
        )
        serve(settings)
    except (SettingsError, ModelsFileError, AlreadyRunning, CannotListen, CannotStart, DamagedSecret) as error:
        sys.exit(f"backlot: {error}")
    except KeyboardInterrupt:
        # uvicorn has shut down in good order and raises the signal again.
        sys.exit(130)


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{number} is not a port; it takes 0–65535")
    return number


def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT.

    Raises ModelsFileError, AlreadyRunning, CannotListen or CannotStart, all of them before anything is changed.
    """
    models = ModelsFile(settings.models)
    for folder in (settings.data, settings.images, settings.logs):
        folder.mkdir(parents=True, exist_ok=True)
    lock = hold(settings.data)
    with lock:
        _log_to(settings)
        listening = _listen(settings.host, settings.port)
        start_process = partial(GpuProcess, settings.device, settings.memory_gib, settings.logs)
        # The GPU process takes seconds to import torch, so it starts first. If this process cannot start after all, the
        # GPU process sees that and ends too.
        try:
            gpu_process = start_process()
        except OSError as error:
            raise CannotStart(
                f"the GPU process cannot be started: {error}; free memory, or raise the limits on processes and open files"
            ) from error
        from server.http_server import run

        run(settings, models, listening, [starting_with(gpu_process, start_process)])


def _listen(host: str, port: int) -> socket.socket:
    """Bind the address. This comes before anything is made or shown: a server that cannot start prints no key."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise CannotListen(
            f"cannot listen on {host}:{port}: {error.strerror}; stop what is there, or choose another --host or --port"
        ) from error


def hold(data: Path) -> IO[str]:
    """Lock a data folder for as long as the returned file is open. Raises AlreadyRunning."""
    lock = (data / "server.lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise AlreadyRunning(
            f"another server is running on the data folder {data.absolute()}; "
            "stop it first, or set BACKLOT_DATA to another folder"
        ) from None
    return lock


def _log_to(settings: Settings) -> None:
    logging.basicConfig(
        level=settings.log_level,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        handlers=[
            RotatingFileHandler(settings.logs / "server.log", maxBytes=10_000_000, backupCount=5),
            logging.StreamHandler(),
        ],
    )


if __name__ == "__main__":
    main()
