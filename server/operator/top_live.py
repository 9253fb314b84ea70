"""`backlot top` at work: it asks the operator's routes again and again, and redraws the screen."""

import time
from collections.abc import Callable
from typing import Any

import httpx
from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from pipelines.printable import printable
from server.operator.errors import CommandError
from server.operator.top_screen import screen

#: Jobs that are read and shown at most.
MOST_JOBS = 50


def look(client: httpx.Client, url: str) -> dict[str, Any]:
    """Return what the server at this URL says of itself. Raises CommandError."""

    def read(path: str) -> Any:
        try:
            answer = client.get(f"{url.rstrip('/')}/v1/admin/{path}")
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise CommandError(f"{url} does not answer ({error}); set BACKLOT_URL or --url to the server") from error
        try:
            body = answer.json()
            if answer.is_success:
                return body
            message = body["error"]["message"]
        except (ValueError, KeyError, TypeError):
            raise CommandError(f"{url} answered {answer.status_code}, and is no Backlot server") from None
        raise CommandError(f"{url} refuses: {message}")

    return {
        "url": url,
        "devices": read("devices")["devices"],
        "models": read("models")["models"],
        "queue": read(f"queue?limit={MOST_JOBS}"),
        "disk": read("disk"),
    }


def show_live(look_now: Callable[[], dict[str, Any]], every: float, *, once: bool) -> None:
    """Draw what the server says, once or every `every` seconds until Ctrl-C. Raises CommandError."""
    console = Console()
    if once or not console.is_terminal:
        console.print(screen(look_now(), console.height))
        return
    with Live(screen(look_now(), console.height), console=console, screen=True, auto_refresh=False) as live:
        try:
            while True:
                time.sleep(every)
                live.update(_frame(look_now, console.height), refresh=True)
        except KeyboardInterrupt:
            # Ctrl-C is how it ends.
            pass


def _frame(look_now: Callable[[], dict[str, Any]], height: int) -> RenderableType:
    """Return the next frame: what is wrong if the server does not answer, since one that is started again soon does."""
    try:
        return screen(look_now(), height)
    except CommandError as error:
        return Text(printable(str(error)), "red")
