"""`backlot top` at work: it asks the operator's routes again and again, and redraws the screen."""

import time
from types import TracebackType
from typing import Any, Self

import httpx
from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from pipelines.printable import printable
from server.operator.errors import CommandError
from server.operator.top_screen import screen

#: Jobs that are read and shown at most.
MOST_JOBS = 50


class Looker:
    """Asks a server what it does."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        self._client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._client.close()

    def look(self) -> dict[str, Any]:
        """Return what the server says of itself. Raises CommandError."""
        return {
            "url": self._url,
            "devices": self._read("devices")["devices"],
            "models": self._read("models")["models"],
            "queue": self._read(f"queue?limit={MOST_JOBS}"),
            "disk": self._read("disk"),
        }

    def _read(self, path: str) -> Any:
        try:
            answer = self._client.get(f"/v1/admin/{path}")
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise CommandError(
                f"{self._url} does not answer ({error}); set BACKLOT_URL or --url to the server"
            ) from error
        try:
            body = answer.json()
            if answer.is_success:
                return body
            message = body["error"]["message"]
        except (ValueError, KeyError, TypeError):
            raise CommandError(f"{self._url} answered {answer.status_code}, and is no Backlot server") from None
        raise CommandError(f"{self._url} refuses: {message}")


def show_live(looker: Looker, every: float, *, once: bool) -> None:
    """Draw what the server says, once or every `every` seconds until Ctrl-C. Raises CommandError."""
    console = Console()
    if once or not console.is_terminal:
        console.print(screen(looker.look(), console.height))
        return
    with Live(screen(looker.look(), console.height), console=console, screen=True, auto_refresh=False) as live:
        try:
            while True:
                time.sleep(every)
                live.update(_frame(looker, console.height), refresh=True)
        except KeyboardInterrupt:
            # Ctrl-C is how it ends.
            pass


def _frame(looker: Looker, height: int) -> RenderableType:
    """Return the next frame: what is wrong if the server does not answer, since one that is started again soon does."""
    try:
        return screen(looker.look(), height)
    except CommandError as error:
        return Text(printable(str(error)), "red")
