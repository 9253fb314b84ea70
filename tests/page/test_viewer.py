"""One picture: its address, its neighbours, its details, and what can be done with it."""

import re

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.support.server import ServerWithoutGpu
from tests.support.studio_page import NewClient, enter


@pytest.fixture
def key(studio: ServerWithoutGpu, new_client: NewClient, request: pytest.FixtureRequest) -> str:
    """Return the key of a client with three pictures, the third the newest."""
    made = new_client(f"viewer of {request.node.name}", 100)
    with studio.client_of(made) as client:
        for index, name in enumerate(("First", "Second", "Third")):
            spec = {"display_name": name, "dominant_colors": ["#14254d", "ivory"], "seed": 424242 + index}
            studio.finished(studio.submit(client, image_model="tiny", aspect_ratio="3:2", **spec), client)
    return made


def open_picture(page: Page, name: str) -> None:
    page.locator(f".open[aria-label^='{name}']").click()
    expect(page.get_by_role("dialog", name=name.split(",")[0])).to_be_visible()


def test_a_picture_has_an_address_and_back_closes_it(
    page: Page, context: BrowserContext, studio: ServerWithoutGpu, key: str
) -> None:
    enter(page, studio, key)
    open_picture(page, "Second")
    address = page.url
    assert re.search(r"#picture=[0-9A-Z]{26}$", address)
    page.go_back()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator(".open:focus")).to_have_attribute("aria-label", re.compile("^Second"))
    page.go_forward()
    expect(page.get_by_role("dialog", name="Second")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert page.url == f"{studio.url}/"
    other = context.new_page()
    other.goto(address)
    expect(other.get_by_role("dialog", name="Second")).to_be_visible()
    other.keyboard.press("Escape")
    expect(other.get_by_role("dialog")).to_have_count(0)
    expect(other.locator(".tile")).to_have_count(3)


def test_what_is_known_of_it(page: Page, studio: ServerWithoutGpu, key: str) -> None:
    enter(page, studio, key)
    open_picture(page, "Third")
    facts = page.get_by_role("dialog").locator(".rows").first
    expect(facts).to_contain_text("Understoodmarble, warm")
    expect(facts).to_contain_text("Seed424244")
    expect(facts).to_contain_text("Size640 × 416 pixels")
    expect(facts).not_to_contain_text("r1-")
    image = page.get_by_role("dialog").locator("img").first
    box = image.bounding_box()
    assert box and round(box["width"]) == 640, "a picture is shown no larger than it is"
    page.get_by_role("radio", name="200 %").check()
    box = image.bounding_box()
    assert box and round(box["width"]) == 1280


def test_neighbours_by_button_and_by_key(page: Page, studio: ServerWithoutGpu, key: str) -> None:
    enter(page, studio, key)
    open_picture(page, "Third")
    expect(page.get_by_role("button", name="Newer picture")).to_be_disabled()
    page.get_by_role("button", name="Older picture").click()
    expect(page.get_by_role("dialog", name="Second")).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("dialog", name="First")).to_be_visible()
    expect(page.get_by_role("button", name="Older picture")).to_be_disabled()
    page.go_back()
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_new_pictures_are_seen_one_after_the_other_from_the_viewer(
    page: Page, studio: ServerWithoutGpu, key: str
) -> None:
    enter(page, studio, key)
    open_picture(page, "Second")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Show the next")).to_have_count(0)
    with studio.client_of(key) as client:
        endless = studio.submit(client, display_name="Endless", prompt="endless")
        expect(dialog.get_by_text("1 in progress")).to_be_visible()
        client.post(f"/v1/jobs/{endless}/cancel")
        for name in ("Fourth", "Fifth"):
            studio.finished(studio.submit(client, display_name=name), client)
    expect(dialog.get_by_text("in progress")).to_have_count(0)
    dialog.get_by_role("button", name="Show the next of 2 new").click()
    expect(page.get_by_role("dialog", name="Fourth")).to_be_visible()
    dialog.get_by_role("button", name="Show the next of 1 new").click()
    expect(page.get_by_role("dialog", name="Fifth")).to_be_visible()
    expect(dialog.get_by_role("button", name="Show the next")).to_have_count(0)
    expect(dialog.locator(".heading")).to_be_focused()


def test_use_as_it_was_and_vary(page: Page, studio: ServerWithoutGpu, key: str) -> None:
    enter(page, studio, key)
    open_picture(page, "Second")
    page.get_by_role("button", name="Vary 5 credits").click()
    expect(page.get_by_role("button", name="Show the next of 1 new")).to_be_visible()
    page.get_by_role("button", name="Use as it was").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator("#scene_type")).to_have_value("marble")
    expect(page.locator("#scene_type")).to_be_focused()
    expect(page.locator("#seed")).to_have_value("424243")
    expect(page.locator(".chip")).to_have_count(2)
    expect(page.get_by_role("radio", name="3:2")).to_be_checked()
    expect(page.locator("#image_model")).to_have_value("tiny")
    expect(page.locator(".tile")).to_have_count(4)
    open_picture(page, "Second, seed 424243")
    page.get_by_role("button", name="Use with a new seed").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator("#seed")).to_have_value("")
    expect(page.get_by_role("radio", name="3:2")).to_be_checked()


def test_rename_favourite_download_and_delete(page: Page, studio: ServerWithoutGpu, key: str) -> None:
    enter(page, studio, key)
    open_picture(page, "Third")
    page.get_by_role("button", name="Third", exact=True).click()
    page.get_by_label("Name", exact=True).last.fill("Winter slab")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Winter slab")
    expect(dialog).to_be_visible()
    dialog.get_by_role("button", name="Favourite").click()
    expect(dialog.get_by_role("button", name="Favourite")).to_have_attribute("aria-pressed", "true")
    with page.expect_download() as downloading:
        dialog.get_by_role("link", name="Download").click()
    assert downloading.value.suggested_filename == "winter-slab-424244.png"
    assert downloading.value.path().read_bytes().startswith(b"\x89PNG")
    dialog.get_by_role("button", name="Delete").click()
    expect(page.locator(".tile")).to_have_count(2)
    page.locator(".toast").get_by_role("button", name="Undo").click()
    expect(page.locator(".tile.favourite")).to_have_count(1)


def test_clearing_away_goes_on_to_the_next(page: Page, studio: ServerWithoutGpu, key: str) -> None:
    enter(page, studio, key)
    open_picture(page, "Second")
    page.keyboard.press("Delete")
    expect(page.get_by_role("dialog", name="First")).to_contain_text("2 of 2")
    # No picture follows the last one, so the dialog goes back to the one before it.
    page.get_by_role("dialog").get_by_role("button", name="Archive").click()
    expect(page.get_by_role("dialog", name="Third")).to_contain_text("1 of 1")
    page.keyboard.press("Control+z")
    expect(page.get_by_role("dialog", name="Third")).to_contain_text("1 of 2")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Delete")
    expect(page.get_by_role("dialog", name="Third")).to_contain_text("1 of 1")
    page.keyboard.press("Delete")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator(".tile")).to_have_count(0)
    assert page.url == f"{studio.url}/"


def test_an_unknown_address_says_so(page: Page, studio: ServerWithoutGpu, key: str) -> None:
    page.goto(f"{studio.url}/#key={key}&picture=01ARZ3NDEKTSV4RRFFQ69G5FAV")
    expect(page.get_by_role("dialog")).to_contain_text("There is no image '01ARZ3NDEKTSV4RRFFQ69G5FAV'")
