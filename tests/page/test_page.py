"""The studio page with a real model: a background from the form to the catalogue."""

import re

from playwright.sync_api import Page, expect

from tests.support.server import Server, wait_for
from tests.support.studio_page import describe, enter, generate

#: A picture takes seconds on a CPU that is busy with other tests.
PICTURE_MS = 120_000


def test_a_background_from_the_form_to_the_catalogue_and_back(page: Page, server: Server) -> None:
    enter(page, server, server.key)
    before = server.credits()["balance"]
    describe(page)
    for color in ("navy", "#F4E9D8"):
        page.get_by_label("Add a colour").fill(color)
        page.keyboard.press("Enter")
    page.get_by_role("radio", name="3:2").check()
    page.locator("#seed").fill("424242")
    page.get_by_text("More options").click()
    page.get_by_label("Name", exact=True).fill("Slab by the window")
    page.get_by_label("Measure colours and sharpness").check()
    generate(page)

    expect(page.locator(".making")).to_contain_text("Slab by the window")
    tile = page.locator(".tile").filter(has_text="Slab by the window")
    expect(tile).to_have_count(1, timeout=PICTURE_MS)
    wait_for(lambda: page.evaluate("document.querySelector('.tile img').naturalWidth") > 0)
    expect(page.locator(".bar .balance")).to_have_text(str(before - 5))
    assert server.credits()["balance"] == before - 5

    tile.locator(".open").click()
    dialog = page.get_by_role("dialog", name="Slab by the window")
    expect(dialog.locator(".rows").first).to_contain_text("Seed424242")
    expect(dialog.get_by_text("#000080 asked")).to_be_visible()
    dialog.get_by_role("button", name="Use as it was").click()
    expect(page.locator("#scene_type")).to_have_value("marble")
    expect(page.locator("#seed")).to_have_value("424242")


def test_the_schema_page_shows_every_route_without_the_internet(page: Page, server: Server) -> None:
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.goto(f"{server.url}/schema")
    document = server.client.get("/schema").json()
    described = [*document["paths"].values(), *document["webhooks"].values()]
    expect(page.locator(".opblock")).to_have_count(sum(len(methods) for methods in described))
    assert all(re.match(rf"{re.escape(server.url)}|data:|blob:", url) for url in requested)
