"""The page and the desk by ear: every control has a name, every change is told once, and axe-core finds nothing wrong."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.accessibility import AXE, LISTEN, controls, violations
from tests.support.server import ServerWithoutGpu
from tests.support.studio_page import NewClient, describe, enter, generate

WINDOWS = [(1400, "light"), (1400, "dark"), (390, "light"), (390, "dark")]


@pytest.fixture
def heard_page(page: Page) -> Page:
    """Return a page that keeps what a screen reader would say of its changes."""
    page.add_init_script(LISTEN)
    return page


def heard(page: Page, text: str) -> None:
    """Expect that this text was announced once since the last call."""
    page.wait_for_function("text => window.announced.some((told) => told.includes(text))", arg=text)
    # A second announcement would have come by then.
    page.wait_for_timeout(300)
    told = page.evaluate("window.announced")
    assert sum(text in line for line in told) == 1, told
    page.evaluate("text => window.announced = window.announced.filter((told) => !told.includes(text))", text)


def named(page: Page) -> None:
    nameless = [role for role, name in controls(page) if not name]
    assert nameless == []


def test_the_way_of_an_artist_by_ear(heard_page: Page, studio: ServerWithoutGpu, new_client: NewClient) -> None:
    page = heard_page
    key = new_client("listener", 100)
    with studio.client_of(key) as client:
        studio.finished(studio.submit(client, display_name="Earlier", mood="cool"), client)
    page.goto(studio.url)
    named(page)
    page.get_by_label("Your key").fill("sk_live_wrong")
    page.keyboard.press("Enter")
    heard(page, "key")
    page.get_by_label("Your key").fill(key)
    page.get_by_role("button", name="Open the studio").click()
    expect(page.locator(".tile")).to_have_count(1)
    named(page)
    describe(page)
    page.get_by_text("More options").click()
    page.get_by_label("Name", exact=True).fill("Slab")
    page.locator("#seed").fill("5")
    named(page)
    generate(page)
    heard(page, "Your picture is on the way")
    heard(page, "Slab: ready")
    expect(page.locator(".tile")).to_have_count(2)
    page.get_by_role("button", name="Slab, seed 5, new", exact=True).click()
    dialog = page.get_by_role("dialog", name="Slab")
    expect(dialog.locator(".rows").first).to_contain_text("Seed5")
    # With the focus on the whole dialog, a screen reader would read all of it, but not its name.
    expect(dialog.locator(".heading")).to_be_focused()
    named(page)
    dialog.get_by_role("button", name="Favourite").press("Enter")
    expect(dialog.get_by_role("button", name="Favourite")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("ArrowRight")
    heard(page, "2 of 2")
    page.keyboard.press("f")
    heard(page, "Favourite")
    page.keyboard.press("ArrowLeft")
    heard(page, "1 of 2")
    dialog.get_by_role("button", name="Delete").click()
    heard(page, "1 picture deleted. Control Z takes it back.")
    heard(page, "1 of 1")
    expect(page.locator(".tile")).to_have_count(1)
    named(page)
    page.get_by_role("button", name="Undo").press("Enter")
    expect(page.locator(".tile")).to_have_count(2)
    # The pressed button is gone; the keys still work.
    expect(page.get_by_role("dialog").locator(".heading")).to_be_focused()
    page.keyboard.press("ArrowLeft")
    heard(page, "1 of 2")
    page.keyboard.press("Escape")
    page.get_by_label("Mood", exact=True).and_(page.locator("select")).select_option("cool")
    heard(page, "1 picture shown")
    page.locator(".tile .open").focus()
    page.keyboard.press("x")
    heard(page, "1 picture selected")
    named(page)
    page.get_by_role("button", name="Done").press("Enter")
    expect(page.get_by_role("button", name="Select", exact=True)).to_be_focused()
    page.get_by_role("button", name="Clear filters").press("Enter")
    expect(page.get_by_role("region", name="Catalogue")).to_be_focused()


def test_the_focus_is_never_lost(page: Page, studio: ServerWithoutGpu, new_client: NewClient) -> None:
    key = new_client("by keyboard", 100)
    with studio.client_of(key) as client:
        for name in ("Third", "Second", "First"):
            studio.finished(studio.submit(client, display_name=name), client)
        studio.submit(client, display_name="Beach", prompt="endless")
    enter(page, studio, key)
    catalogue = page.get_by_role("region", name="Catalogue")
    page.get_by_role("button", name="Cancel Beach").press("Enter")
    expect(page.locator(".making")).to_have_count(0)
    expect(catalogue).to_be_focused()
    page.locator("[data-index='0'] .open").press("Delete")
    expect(page.locator(".open[aria-label^=Second]")).to_be_focused()
    page.keyboard.press("x")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".open[aria-label^=Third]")).to_be_focused()
    page.keyboard.press("x")
    page.get_by_role("button", name="Compare").press("Enter")
    expect(page.get_by_role("heading", name="Compare")).to_be_focused()
    page.keyboard.press("Escape")
    expect(catalogue).to_be_focused()
    page.get_by_role("button", name="Done").press("Enter")
    page.locator(".open[aria-label^=Second]").press("Enter")
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Second").press("Enter")
    expect(dialog.get_by_label("Name")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog.locator(".heading")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator(".open[aria-label^=Second]")).to_be_focused()


def test_a_menu_closes_when_the_focus_leaves_it(page: Page, studio: ServerWithoutGpu) -> None:
    enter(page, studio, studio.key)
    page.locator(".bar").get_by_role("button", name="credits").press("Enter")
    expect(page.get_by_role("region", name="Credits")).to_be_visible()
    page.get_by_role("button", name="Menu").press("Enter")
    expect(page.locator(".panel-menu")).to_have_count(1)
    page.get_by_role("button", name="Forget key").focus()
    page.keyboard.press("Tab")
    expect(page.locator(".panel-menu")).to_have_count(0)
    assert page.evaluate("document.activeElement !== document.body")


@pytest.fixture(scope="module")
def busy_key(studio: ServerWithoutGpu) -> Iterator[str]:
    """Yield the key of a client with pictures, jobs that run and a job that failed; it may use the desk as well."""
    with studio.new_client("busy", 1000) as client:
        for seed in range(3):
            studio.finished(studio.submit(client, display_name="Slab", seed=seed, dominant_colors=["navy"]), client)
        studio.finished(studio.submit(client, display_name="Vase", prompt="broken"), client)
        studio.submit(client, display_name="Beach", prompt="endless")
        client.post("/v1/image-generation", json={"prompt": "endless", "n": 8})
        made = studio.backlot(
            "keys", "add", "busy", *(f"--capability={name}" for name in ("jobs:create", "jobs:read", "admin"))
        )
        yield made.stdout.strip()
        for job in client.get("/v1/jobs", params={"status": ["IN_PROGRESS", "NOT_STARTED"]}).json()["jobs"]:
            client.post(f"/v1/jobs/{job['public_id']}/cancel")


@pytest.fixture(params=WINDOWS, ids=lambda window: f"{window[0]}-{window[1]}")
def window(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    """Yield a page of one width, in light or dark."""
    if not AXE.exists():
        pytest.skip("axe-core is not installed: ./scripts/setup page")
    width, scheme = request.param
    with browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, locale="en-GB") as context:
        yield context.new_page()


def test_axe_finds_nothing_wrong_with_the_page(window: Page, studio: ServerWithoutGpu, busy_key: str) -> None:
    page = window
    page.goto(studio.url)
    expect(page.get_by_label("Your key")).to_be_visible()
    assert violations(page) == []
    enter(page, studio, busy_key)
    expect(page.locator(".tile")).to_have_count(3)
    expect(page.locator(".making")).to_have_count(8)
    assert violations(page) == []
    is_sheet = page.get_by_role("button", name="New picture").is_visible()
    if is_sheet:
        page.get_by_role("button", name="New picture").click()
    describe(page)
    page.get_by_label("Add a colour").fill("navy")
    page.keyboard.press("Enter")
    page.get_by_text("More options").click()
    page.locator("#seed").fill("no seed")
    generate(page)
    expect(page.locator("#seed-below")).to_contain_text("A whole number")
    assert violations(page) == []
    if is_sheet:
        page.get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Menu").click()
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.locator(".bar").get_by_role("button", name="credits").click()
    expect(page.locator(".spendings li").first).to_be_visible()
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.locator(".tile .open").first.click()
    expect(page.get_by_role("dialog").locator(".rows").first).to_contain_text("Seed")
    assert violations(page) == []
    page.keyboard.press("Escape")
    for seed in (0, 1):
        page.get_by_role("checkbox", name=f"Select Slab, seed {seed}").check(force=True)
    assert violations(page) == []
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("dialog", name="Compare").locator("img")).to_have_count(2)
    assert violations(page) == []
    page.get_by_role("radio", name="One over the other").check(force=True)
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Delete").click()
    expect(page.locator(".toast")).to_be_visible()
    assert violations(page) == []
    page.locator(".toast").get_by_role("button", name="Undo").click()
    page.get_by_label("Search the catalogue").fill("no such thing")
    expect(page.get_by_role("heading", name="Nothing fits")).to_be_visible()
    assert violations(page) == []


def test_axe_finds_nothing_wrong_with_the_desk(window: Page, studio: ServerWithoutGpu, busy_key: str) -> None:
    page = window
    page.goto(f"{studio.url}/desk")
    expect(page.get_by_label("Operator's key")).to_be_visible()
    assert violations(page) == []
    page.get_by_label("Operator's key").fill(busy_key)
    page.keyboard.press("Enter")
    for view in ("Now", "Usage", "Clients", "Keys", "Failures"):
        page.get_by_role("navigation", name="Views").get_by_role("link", name=view).click()
        expect(page.locator("h2").first).to_be_visible()
        page.wait_for_timeout(300)
        named(page)
        assert violations(page) == []
