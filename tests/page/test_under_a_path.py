"""The page under a path of another site, behind a proxy."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.support.server import ROOT, ServerWithoutGpu


@pytest.fixture
def behind_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerWithoutGpu, str]]:
    """Yield a server, and the page's address at a proxy that keeps the path, as that of docs/deploy/Caddyfile does."""
    server = ServerWithoutGpu(
        tmp_path_factory.mktemp("under a path"), BACKLOT_PUBLIC_URL="https://tools.studio.example/backlot"
    )
    server.start()
    command = [sys.executable, "-m", "tests.support.reverse_proxy", server.url, "/backlot", "keep"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield server, process.stdout.readline().strip()
    process.kill()
    process.communicate()
    server.stop()


def test_pictures_are_shown_and_downloaded(page: Page, behind_proxy: tuple[ServerWithoutGpu, str]) -> None:
    server, address = behind_proxy
    server.finished(server.submit(display_name="Slab", seed=7))
    page.goto(f"{address}/#key={server.key}")
    expect(page.locator(".tile")).to_contain_text("Slab")
    expect(page.locator(".tile img")).to_have_js_property("complete", True)
    assert page.locator(".tile img").evaluate("image => image.naturalWidth") > 0
    page.locator(".tile .open").click()
    dialog = page.get_by_role("dialog", name="Slab")
    with page.expect_download() as downloading:
        dialog.get_by_role("link", name="Download").click()
    assert downloading.value.suggested_filename == "slab-7.png"
    assert downloading.value.path().read_bytes().startswith(b"\x89PNG")
