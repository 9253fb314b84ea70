"""The page on a phone, by touch and by keyboard: everything is in reach, and nothing is wider than the screen."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from tests.support.server import ServerWithoutGpu
from tests.support.studio_page import NewClient, enter

WIDTH, HEIGHT = 390, 844


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """Yield a phone."""
    size = {"width": WIDTH, "height": HEIGHT}
    with browser.new_context(viewport=size, has_touch=True, is_mobile=True, locale="en-GB") as context:  # type: ignore[arg-type]
        context.set_default_timeout(15_000)
        yield context


@pytest.fixture
def key(studio: ServerWithoutGpu, new_client: NewClient, request: pytest.FixtureRequest) -> Iterator[str]:
    """Yield the key of a client with two pictures, a job that runs and one that failed."""
    made = new_client(f"phone of {request.node.name}")
    with studio.client_of(made) as client:
        for name in ("Slab", "Window"):
            studio.finished(studio.submit(client, display_name=name, dominant_colors=["navy"]), client)
        studio.finished(studio.submit(client, display_name="Vase", prompt="broken"), client)
        endless = studio.submit(client, display_name="Beach", prompt="endless")
        yield made
        client.post(f"/v1/jobs/{endless}/cancel")


def fits(page: Page) -> None:
    """Expect that the page cannot be moved sideways, and that an open dialog is completely on the screen."""
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTH
    for part in page.locator(".panel-menu:visible, dialog[open], .toast:visible").all():
        box = part.bounding_box()
        assert box and box["x"] >= 0 and box["x"] + box["width"] <= WIDTH, part


def in_reach(part: Locator) -> None:
    """Expect that a part is on the screen, or can be brought there, and that nothing covers its middle."""
    part.scroll_into_view_if_needed()
    expect(part).to_be_in_viewport(ratio=0.95)
    part.tap(trial=True)


def test_what_is_on_its_way_makes_the_page_no_wider(page: Page, studio: ServerWithoutGpu, key: str) -> None:
    with studio.client_of(key) as client:
        job_id = client.post("/v1/image-generation", json={"prompt": "endless", "n": 8}).json()["job_id"]
        enter(page, studio, key)
        expect(page.locator(".making")).to_have_count(8)
        fits(page)
        in_reach(page.get_by_role("button", name="New picture"))
        client.post(f"/v1/jobs/{job_id}/cancel")


def test_a_picture_from_the_form_to_the_viewer(page: Page, studio: ServerWithoutGpu, key: str) -> None:
    page.goto(studio.url)
    expect(page.get_by_label("Your key")).to_be_visible()
    fits(page)
    enter(page, studio, key)
    expect(page.locator(".tile")).to_have_count(2)
    fits(page)
    for label in ("Try again", "Use settings of Vase", "Dismiss Vase", "Cancel Beach"):
        in_reach(page.get_by_role("button", name=label))

    page.get_by_role("button", name="New picture").tap()
    sheet = page.get_by_role("dialog", name="New picture")
    generate = sheet.get_by_role("button", name="Generate")
    expect(generate).to_be_in_viewport(ratio=1)
    fits(page)
    sheet.get_by_text("More options").tap()
    for label in ("Scene", "Mood", "Seed", "Name"):
        in_reach(sheet.get_by_label(label, exact=True))
        # The price and the button stay where they are.
        expect(generate).to_be_in_viewport(ratio=1)
    fits(page)
    sheet.get_by_label("Scene", exact=True).fill("marble")
    sheet.get_by_label("Mood", exact=True).fill("warm")
    sheet.get_by_label("Name", exact=True).fill("Shelf")
    generate.tap()
    expect(sheet).to_be_hidden()

    tile = page.locator(".tile").filter(has_text="Shelf")
    expect(tile).to_have_count(1)
    tile.locator(".open").tap()
    viewer = page.get_by_role("dialog", name="Shelf")
    expect(viewer.locator("img").first).to_be_in_viewport(ratio=1)
    fits(page)
    for label in ("Vary 5 credits", "Use with a new seed", "Delete"):
        in_reach(viewer.get_by_role("button", name=label))
    viewer.get_by_role("button", name="Close").tap()
    expect(viewer).to_be_hidden()


def test_how_many_are_selected_is_seen_whole(page: Page, studio: ServerWithoutGpu, key: str) -> None:
    enter(page, studio, key)
    with studio.client_of(key) as client:
        job_id = studio.submit(client, prompt="endless")
        expect(page.get_by_role("button", name="Cancel all 2")).to_be_visible()
        page.get_by_role("button", name="Select", exact=True).tap()
        heading = page.get_by_role("heading", name="0 of 2 selected")
        assert heading.evaluate("part => part.scrollWidth <= part.clientWidth")
        client.post(f"/v1/jobs/{job_id}/cancel")


def test_pictures_are_selected_compared_and_deleted(page: Page, studio: ServerWithoutGpu, key: str) -> None:
    enter(page, studio, key)
    # No finger has to move the filters aside to find it.
    expect(page.get_by_role("button", name="Select", exact=True)).to_be_in_viewport(ratio=1)
    expect(page.locator(".failures li")).to_have_count(1)
    before = page.locator(".grid").bounding_box()
    page.get_by_role("button", name="Select", exact=True).tap()
    for name in ("Slab", "Window"):
        page.get_by_role("checkbox", name=f"Select {name}").check(force=True)
    assert page.locator(".grid").bounding_box() == before
    fits(page)
    expect(page.get_by_role("button", name="Done")).to_be_in_viewport(ratio=1)
    expect(page.get_by_role("button", name="New picture")).to_be_hidden()
    toolbar = page.get_by_role("toolbar", name="With the selected pictures")
    for label in ("Compare", "Download zip", "Favourite", "Archive", "Delete"):
        in_reach(toolbar.get_by_role("button", name=label))
    toolbar.get_by_role("button", name="Compare").tap()
    comparison = page.get_by_role("dialog", name="Compare")
    expect(comparison.locator("img")).to_have_count(2)
    fits(page)
    for image in comparison.locator("img").all():
        expect(image).to_be_in_viewport(ratio=0.99)
    for name in ("Slab", "Window"):
        in_reach(comparison.get_by_role("button", name=f"Favourite {name}"))
        expect(comparison.get_by_text(name, exact=True)).to_be_in_viewport(ratio=1)
    comparison.get_by_role("radio", name="One over the other").check(force=True)
    fits(page)
    for name in ("Slab", "Window"):
        expect(comparison.get_by_text(name, exact=True)).to_be_in_viewport(ratio=1)
    comparison.get_by_role("button", name="Close").tap()
    toolbar.get_by_role("button", name="Delete").tap()
    undo = page.locator(".toast").get_by_role("button", name="Undo")
    fits(page)
    in_reach(undo)
    undo.tap()
    expect(page.locator(".tile")).to_have_count(2)


@pytest.mark.parametrize(("button", "inside"), [("Menu", "Appearance"), ("credits", "Latest")])
def test_menus_open_and_close_by_touch_and_by_keyboard(
    page: Page, studio: ServerWithoutGpu, key: str, button: str, inside: str
) -> None:
    # Below the last picture is room to tap on nothing.
    page.set_viewport_size({"width": WIDTH, "height": 2 * HEIGHT})
    enter(page, studio, key)
    opener = page.locator(".bar").get_by_role("button", name=button)
    panel = page.locator(".panel-menu")
    opener.tap()
    expect(panel.get_by_text(inside)).to_be_visible()
    expect(opener).to_have_attribute("aria-expanded", "true")
    fits(page)
    opener.tap()
    expect(panel).to_have_count(0)
    opener.tap()
    expect(panel).to_have_count(1)
    page.touchscreen.tap(WIDTH / 4, 2 * HEIGHT - 20)
    expect(panel).to_have_count(0)

    opener.focus()
    page.keyboard.press("Enter")
    expect(panel).to_have_count(1)
    page.keyboard.press("Tab")
    assert panel.evaluate("panel => panel.contains(document.activeElement)"), "the next stop is not in the menu"
    page.keyboard.press("Escape")
    expect(panel).to_have_count(0)
    expect(opener).to_be_focused()


def test_the_menu_lists_no_keys(page: Page, studio: ServerWithoutGpu, key: str) -> None:
    enter(page, studio, key)
    page.get_by_role("button", name="Menu").tap()
    expect(page.get_by_role("button", name="Forget key")).to_be_visible()
    expect(page.get_by_role("heading", name="Keys")).to_be_hidden()
    expect(page.get_by_text("take back a deletion")).to_be_hidden()


@pytest.mark.parametrize("width", [WIDTH, 1400])
def test_the_legends_of_the_menu_stand_above_their_choices(
    page: Page, studio: ServerWithoutGpu, key: str, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": HEIGHT})
    enter(page, studio, key)
    page.get_by_role("button", name="Menu").click()
    for name in ("Appearance", "Pictures"):
        group = page.get_by_role("group", name=name)
        legend, choices = group.locator("legend").bounding_box(), group.locator(".segments").bounding_box()
        assert legend and choices
        assert legend["y"] + legend["height"] <= choices["y"]
        assert abs(legend["x"] - choices["x"]) <= 4
    page.get_by_role("group", name="Appearance").get_by_role("radio", name="Dark").check(force=True)
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
