"""`python -m server`: run the server until it is told to stop."""

import argparse
import fcntl
import logging
import socket
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO

import msgspec
import uvicorn

from pipelines.models import ModelsFileError
from server.app import create_app
from server.keys import DamagedSecret, new_client
from server.ledger.database import Database, connect, migrate, transaction
from server.models_file import ModelsFile
from server.scheduler.events import EventHub
from server.settings import Settings, SettingsError, read_settings

FIRST_CLIENT = "studio"
FIRST_CREDITS = 1000


class AlreadyRunning(Exception):
    """Another server has this data folder."""


class CannotListen(Exception):
    """The address is taken or not of this box."""


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
    except (SettingsError, ModelsFileError, AlreadyRunning, CannotListen, DamagedSecret) as error:
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
    """Run until SIGTERM or SIGINT. Raises ModelsFileError, AlreadyRunning or CannotListen before anything is changed."""
    models = ModelsFile(settings.models)
    for folder in (settings.data, settings.images, settings.logs):
        folder.mkdir(parents=True, exist_ok=True)
    lock = hold(settings.data)
    with lock:
        _log_to(settings)
        listening = _listen(settings.host, settings.port)
        migrate(settings.database)
        _welcome(settings, listening.getsockname()[1])
        database = Database(settings.database)
        hub = EventHub()
        config = uvicorn.Config(
            create_app(settings, models, database, hub),
            log_config=None,
            access_log=False,
            server_header=False,
            # Whoever is slow to take an answer may not hold up a restart.
            timeout_graceful_shutdown=5,
        )
        try:
            _HttpServer(config, hub).run(sockets=[listening])
        finally:
            database.close()


class _HttpServer(uvicorn.Server):
    """Lets waiting requests and event streams go when a stop begins; they would hold it up otherwise."""

    def __init__(self, config: uvicorn.Config, hub: EventHub) -> None:
        super().__init__(config)
        self._hub = hub

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._hub.close()
        await super().shutdown(sockets)


def _listen(host: str, port: int) -> socket.socket:
    """Bound before anything is made or shown, so that a first key is never printed by a server that cannot start."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise CannotListen(
            f"cannot listen on {host}:{port}: {error.strerror}; stop what is there, or choose another --host or --port"
        ) from error


def hold(data: Path) -> IO[str]:
    """The lock on a data folder, held as long as the file is open. Raises AlreadyRunning."""
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


def _welcome(settings: Settings, port: int) -> None:
    """Say where the server is; on a first run make the first client and show its key, this once."""
    shown = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104  not a bind
    base = f"http://{shown}:{port}"
    connection = connect(settings.database)
    try:
        with transaction(connection):
            if connection.execute("SELECT 1 FROM clients LIMIT 1").fetchone():
                print(f"Backlot is at {base}/ (API pages: {base}/schema)", flush=True)  # noqa: T201
                return
            key = new_client(connection, FIRST_CLIENT, FIRST_CREDITS, test=False)
    finally:
        connection.close()
    print(  # noqa: T201
        f"""
Welcome to Backlot. This first start made the client "{FIRST_CLIENT}" with {FIRST_CREDITS} credits. Its key, shown this once:

    {key}

Generate a first background:

    curl -s {base}/v1/background-generator -H 'Authorization: Bearer {key}' \\
      -d '{{"scene_type": "marble", "mood": "warm", "dominant_colors": ["ivory", "goldenrod"]}}'

Then look at it:

    Studio page   {base}/#key={key}
    API pages     {base}/schema
    Is it ready?  {base}/readyz
""",
        flush=True,
    )


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
