"""A browser, and the server whose page it opens."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.support.server import ROOT, ServerWithoutGpu
from tests.support.studio_page import CHROMIUM, NewClient, launch

PATIENCE_MS = 15_000

#: A model with a closed vocabulary; the other one takes any words.
TINY = f"""
[models.tiny]
folder = "{ROOT / "pipelines" / "studio_tiny" / "weights"}"
licence = "Apache-2.0"
tiers = ["0.5K"]
multiple_of = 32
steps = 16
guidance = 2.0
vocabulary = "studio-tiny"
"""


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerWithoutGpu]:
    """Yield a server whose GPU process is a fake that writes pictures of one colour."""
    server = ServerWithoutGpu(tmp_path_factory.mktemp("studio"))
    models = Path(server.environment["BACKLOT_MODELS"])
    models.write_text(models.read_text() + TINY)
    server.start()
    yield server
    server.stop()


# The event loop of Playwright ends with the tests of this folder: others run loops of their own in this thread.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists() and os.environ.get("REQUIRE_BROWSER") != "1":
        pytest.skip(f"there is no {CHROMIUM}; REQUIRE_BROWSER=1 makes that a failure")
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    with browser.new_context(viewport={"width": 1400, "height": 900}, locale="en-GB") as context:
        context.set_default_timeout(PATIENCE_MS)
        yield context


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """Yield a page, and fail if it has complained of anything by the test's end."""
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    yield page
    # Nobody cares for requests that are still on their way.
    page.unroute_all(behavior="ignoreErrors")
    assert wrong == []


@pytest.fixture
def new_client(studio: ServerWithoutGpu) -> NewClient:
    def make(name: str, credits_: int = 1000) -> str:
        with studio.new_client(name, credits_) as client:
            return client.headers["Authorization"].removeprefix("Bearer ")

    return make
