"""The studio page in Chromium, and the actions of a person there."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, Playwright, expect

from tests.support.server import Server

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

#: Takes a name and credits, makes a client, and returns its key.
NewClient = Callable[..., str]


def launch(playwright: Playwright) -> Browser:
    """Start Chromium without a window. It draws in software, and asks nothing of the internet."""
    return playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)


def enter(page: Page, server: Server, key: str) -> None:
    """Open the page by a link that carries a key."""
    page.goto(f"{server.url}/#key={key}")
    expect(page.get_by_role("search")).to_be_visible()


def describe(page: Page, scene: str = "marble", mood: str = "warm") -> None:
    page.locator("#scene_type").fill(scene)
    page.locator("#mood").fill(mood)


def generate(page: Page) -> None:
    page.locator(".order button").click()


@contextmanager
def paused_queue(server: Server) -> Iterator[None]:
    """Pause the queue, so that jobs wait, and resume it at the end."""
    with server.client_of(server.backlot("keys", "add", "studio", "--capability", "admin").stdout.strip()) as operator:
        operator.post("/v1/admin/queue/pause").raise_for_status()
        try:
            yield
        finally:
            operator.post("/v1/admin/queue/resume").raise_for_status()
