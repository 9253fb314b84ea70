"""The studio page in a real browser, against a real server."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

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
#: A picture takes seconds on a CPU that is busy with other tests.
PICTURE_MS = 120_000

pytestmark = pytest.mark.skipif(
    not CHROMIUM.exists() and os.environ.get("REQUIRE_BROWSER") != "1",
    reason=f"there is no {CHROMIUM}; REQUIRE_BROWSER=1 makes that a failure",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Watch:
    """What a page complained of and asked for."""

    def __init__(self, page: Page) -> None:
        self.errors: list[str] = []
        self.requested: list[str] = []
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.requested.append(request.url))


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1400, "height": 900}, locale="en-GB")
    context.set_default_timeout(15_000)
    yield context.new_page()
    context.close()


@pytest.fixture
def studio(page: Page, server: Server) -> Page:
    """The page, opened by a link that carries the key."""
    page.goto(f"{server.url}/#key={server.key}")
    expect(page.get_by_role("heading", name="New background")).to_be_visible()
    return page


def describe(page: Page, scene: str = "marble", mood: str = "warm") -> None:
    page.get_by_label("Scene").fill(scene)
    page.get_by_label("Mood").fill(mood)


def add_color(page: Page, color: str) -> None:
    page.get_by_role("button", name="Add a colour").click()
    page.locator("#colors .written").last.fill(color)


def generate(page: Page) -> None:
    page.get_by_role("button", name=re.compile(r"^Generate")).click()


def is_loaded(page: Page, selector: str) -> None:
    page.wait_for_function(
        "selector => document.querySelector(selector)?.naturalWidth > 0", arg=selector, timeout=PICTURE_MS
    )


def balance(page: Page) -> int:
    return int(page.locator("#balance-value").inner_text().replace(",", ""))


def test_a_background_from_the_form_to_the_catalogue_and_back(page: Page, server: Server) -> None:
    watch = Watch(page)
    page.goto(f"{server.url}/#key={server.key}")
    expect(page.get_by_role("heading", name="New background")).to_be_visible()
    assert page.url == f"{server.url}/", "the key stays in the address bar"
    before = balance(page)

    describe(page)
    add_color(page, "navy")
    add_color(page, "#F4E9D8")
    page.get_by_role("radio", name="3:2").check()
    page.get_by_label("Seed").fill("424242")
    page.get_by_text("More options").click()
    page.get_by_label("Name").fill("Slab by the window")
    page.get_by_label("Measure colours and sharpness").check()
    generate(page)

    expect(page.locator("#balance-value")).to_have_text(str(before - 5))
    is_loaded(page, "#job-list img")
    is_loaded(page, "#gallery img")
    assert server.credits()["balance"] == before - 5

    page.locator("#gallery").get_by_role("button", name="Slab by the window").click()
    dialog = page.get_by_role("dialog", name="Slab by the window")
    is_loaded(page, "#viewer-image")
    expect(dialog.get_by_text("424242", exact=True)).to_be_visible()
    expect(dialog.get_by_text("#000080 asked")).to_be_visible()
    with page.expect_download() as downloading:
        dialog.get_by_role("link", name="Download PNG").click()
    assert downloading.value.suggested_filename == "slab-by-the-window-424242.png"
    assert downloading.value.path().read_bytes().startswith(b"\x89PNG")
    page.keyboard.press("Escape")

    page.reload()
    page.locator("#gallery").get_by_role("button", name="Slab by the window").click()
    dialog.get_by_role("button", name="Use these settings").click()
    expect(dialog).to_be_hidden()
    expect(page.get_by_label("Scene")).to_have_value("marble")
    expect(page.get_by_label("Mood")).to_have_value("warm")
    expect(page.get_by_label("Colour 1", exact=True)).to_have_value("navy")
    expect(page.get_by_label("Colour 2", exact=True)).to_have_value("#F4E9D8")
    expect(page.get_by_label("Seed")).to_have_value("424242")
    expect(page.get_by_label("Name")).to_have_value("Slab by the window")
    expect(page.get_by_role("radio", name="3:2")).to_be_checked()

    assert watch.errors == []
    assert [url for url in watch.requested if not url.startswith(f"{server.url}/")] == []


def test_variations_take_consecutive_seeds_and_one_is_cancelled(studio: Page, server: Server) -> None:
    describe(studio, "beach", "bright")
    studio.get_by_label("Seed").fill("7")
    studio.get_by_role("group", name="Variations").get_by_role("radio", name="5").check()
    before = balance(studio)
    with studio.expect_response(lambda answer: answer.url.endswith("/v1/background-generator")) as first:
        generate(studio)
    assert first.value.request.headers["idempotency-key"]
    cards = studio.locator("#job-list > li")
    expect(cards).to_have_count(5)
    cards.nth(4).get_by_role("button", name="Cancel").click()
    expect(cards.nth(4)).to_contain_text("Cancelled. 5 credits given back.")
    expect(studio.locator("#job-list > li[data-state=done]")).to_have_count(4, timeout=PICTURE_MS)
    expect(studio.locator("#balance-value")).to_have_text(str(before - 20))
    jobs = server.client.get("/v1/jobs", params={"limit": 5}).json()["jobs"]
    assert sorted(server.job(job["public_id"])["request"]["seed"] for job in jobs) == [7, 8, 9, 10, 11]


def test_the_jobs_of_an_earlier_visit_are_taken_up(page: Page, server: Server) -> None:
    for seed in range(3):
        server.submit(scene_type="wood", mood="cool", seed=seed)
    page.goto(f"{server.url}/#key={server.key}")
    expect(page.locator("#job-list > li").first).to_contain_text("Cool wood")
    expect(page.get_by_role("heading", name="Latest")).to_be_visible(timeout=PICTURE_MS)


def test_problems_are_shown_at_their_fields(studio: Page) -> None:
    before = balance(studio)
    describe(studio, scene=" ")
    add_color(studio, "navy")
    add_color(studio, "bluish")
    generate(studio)
    expect(studio.locator("#scene_type-problem")).to_have_text("What should be in the picture? Marble, for example.")
    expect(studio.locator("#dominant_colors-problem")).to_contain_text("'bluish' is not a colour")
    expect(studio.get_by_label("Scene")).to_have_attribute("aria-invalid", "true")
    expect(studio.get_by_label("Colour 2", exact=True)).to_have_attribute("aria-invalid", "true")
    expect(studio.get_by_label("Colour 1", exact=True)).not_to_have_attribute("aria-invalid", "true")
    expect(studio.get_by_label("Scene")).to_be_focused()
    expect(studio.locator("#mood-problem")).to_be_hidden()
    studio.get_by_label("Scene").fill("marble")
    expect(studio.locator("#scene_type-problem")).to_be_hidden()
    studio.get_by_label("Seed").fill("one")
    generate(studio)
    expect(studio.locator("#seed-problem")).to_contain_text("A whole number")
    assert balance(studio) == before


def test_without_credits_it_says_what_to_do(page: Page, server: Server) -> None:
    with server.new_client("poor", 3) as poor:
        page.goto(f"{server.url}/#key={poor.headers['Authorization'].removeprefix('Bearer ')}")
    expect(page.get_by_role("heading", name="Nothing here yet")).to_be_visible()
    page.locator("#ideas button").first.click()
    expect(page.get_by_label("Scene")).to_have_value("marble")
    generate(page)
    expect(page.locator("#form-problem")).to_contain_text("Not enough credits")
    expect(page.locator("#balance-value")).to_have_text("3")


def test_a_bad_key_gets_the_servers_message_and_a_good_one_is_kept_until_forgotten(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/#key=sk_live_nobody")
    expect(page.locator("#key-problem")).to_contain_text("This key is unknown or was revoked")
    page.get_by_label("Your key").fill(f"  {server.url}/#key={server.key} ")
    page.get_by_role("button", name="Open the studio").click()
    expect(page.get_by_role("heading", name="New background")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="New background")).to_be_visible()
    page.get_by_role("button", name="Forget key").click()
    expect(page.get_by_label("Your key")).to_be_focused()
    page.reload()
    expect(page.get_by_label("Your key")).to_be_visible()


def test_an_expired_link_is_read_again(page: Page, server: Server) -> None:
    server.finished(server.submit())
    refused: list[str] = []

    def refuse_first(route: Route) -> None:
        if refused:
            route.continue_()
        else:
            refused.append(route.request.url)
            route.fulfill(status=403, json={"error": {"code": "LINK_EXPIRED", "message": "", "request_id": ""}})

    page.route("**/images/**", refuse_first)
    page.goto(f"{server.url}/#key={server.key}")
    is_loaded(page, "#gallery img")
    assert refused


def test_the_schema_page_shows_every_route_without_the_internet(page: Page, server: Server) -> None:
    watch = Watch(page)
    page.goto(f"{server.url}/schema")
    document = server.client.get("/schema").json()
    described = [*document["paths"].values(), *document["webhooks"].values()]
    expect(page.locator(".opblock")).to_have_count(sum(len(methods) for methods in described))
    assert watch.errors == []
    assert all(url.startswith((server.url, "data:", "blob:")) for url in watch.requested)


def test_it_fits_a_phone(browser: Browser, server: Server) -> None:
    server.finished(server.submit(aspect_ratio="21:9"))
    with browser.new_context(viewport={"width": 360, "height": 740}) as context:
        page = context.new_page()
        page.goto(f"{server.url}/#key={server.key}")
        is_loaded(page, "#gallery img")
        add_color(page, "navy")
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        page.locator("#gallery button").first.click()
        is_loaded(page, "#viewer-image")
        assert page.evaluate("document.getElementById('viewer').scrollWidth") <= 360
