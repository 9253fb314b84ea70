"""The server proper, once its GPU processes start: the ledger, the application, and HTTP until it is told to stop."""

import gc
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import closing

import uvicorn

from server.addresses import lan_url_of, url_of
from server.app import layered, routes
from server.data_folder import database_errors_explained, prepare_database
from server.event_hub import EventHub
from server.http_connection import Connection, connection_limit
from server.keys import new_client
from server.ledger import clients
from server.ledger.connection import connect, transaction
from server.ledger.database import Database
from server.models_watch import ModelsFile
from server.scheduler.devices import Device
from server.settings import Settings

FIRST_CLIENT = "studio"
FIRST_CREDITS = 1000


def run(settings: Settings, models: ModelsFile, listening: socket.socket, devices: Sequence[Device]) -> None:
    """Serve on a bound socket until SIGTERM or SIGINT. Raises Unusable, DatabaseNewer and DamagedSecret."""
    prepare_database(settings.database)
    port = listening.getsockname()[1]
    _welcome(settings, port)
    database = Database(settings.database)
    hub = EventHub()
    app = layered(routes(settings, models, database, hub, devices, lan_url_of(settings.host, port)), settings, database)
    # Everything allocated so far is permanent: exclude it from garbage collection. Collect rarely after that, since each
    # collection would look at every waiting job.
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    Connection.most_connections = connection_limit()
    config = uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        # The pools of common clients and proxies keep a connection for less, so that they end it, not the server.
        timeout_keep_alive=75,
        log_config=None,
        access_log=False,
        # The application looks at these headers itself.
        proxy_headers=False,
        server_header=False,
        # A client that takes its answer slowly may not hold up a restart.
        timeout_graceful_shutdown=5,
    )
    server = _HttpServer(config, hub)
    # uvicorn raises the signal again when it has shut down. Without a handler it would end the process at once, with writes
    # under way and the database open. A stop that was asked for is a success.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        server.run(sockets=[listening])
    finally:
        database.close()
    if not server.started:
        sys.exit("backlot: the server could not start; see the log above")


class _HttpServer(uvicorn.Server):
    """Ends waiting requests and event streams when a stop begins; otherwise they would hold it up."""

    def __init__(self, config: uvicorn.Config, hub: EventHub) -> None:
        super().__init__(config)
        self._hub = hub

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._hub.close()
        await super().shutdown(sockets)


def _welcome(settings: Settings, port: int) -> None:
    """Say where the server is; on a first run make the first client and show its key, this once."""
    base = url_of(settings.host, port)
    with database_errors_explained(settings.database), closing(connect(settings.database)) as connection:
        # This looks before a transaction begins: a server that has clients starts even if another program has the lock.
        if clients.any_exists(connection):
            print(f"Backlot is at {base}/ (API pages: {base}/schema)", flush=True)  # noqa: T201
            return
        with transaction(connection):
            key = new_client(connection, FIRST_CLIENT, FIRST_CREDITS, test=False)
    print(  # noqa: T201
        f"""
Welcome to Backlot. This first start made the client "{FIRST_CLIENT}" with {FIRST_CREDITS} credits. Its key, shown this once:

    {key}

Generate a first background:

    curl -s {base}/v1/background-generator -H 'Authorization: Bearer {key}' \\
      -d '{{"scene_type": "curtain", "mood": "elegant", "dominant_colors": ["teal", "tan"]}}'

Then look at it:

    Studio page   {base}/#key={key}
    API pages     {base}/schema
    Is it ready?  {base}/readyz
""",
        flush=True,
    )
