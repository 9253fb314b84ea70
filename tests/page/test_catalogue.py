"""The catalogue: finding, keeping and clearing away, among few pictures and among thousands."""

import re
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.support.many_pictures import add_pictures
from tests.support.server import ServerWithoutGpu, wait_for
from tests.support.studio_page import NewClient, enter

NAMES = ["Navy slab", "Sky window", "Red cloth"]


@pytest.fixture
def key(studio: ServerWithoutGpu, new_client: NewClient, request: pytest.FixtureRequest) -> str:
    """Return the key of a client with three pictures, the last of NAMES the newest."""
    made = new_client(f"librarian of {request.node.name}")
    colors = ["#14254d", "skyblue", "#cc2222"]
    scenes = [("marble", "calm"), ("window light", "airy"), ("fabric", "calm")]
    with studio.client_of(made) as client:
        for name, color, (scene, mood) in zip(NAMES, colors, scenes, strict=True):
            spec = {"scene_type": scene, "mood": mood, "display_name": name, "dominant_colors": [color]}
            studio.finished(studio.submit(client, **spec), client)
    return made


def names(page: Page) -> list[str]:
    return page.locator(".tile .caption .name").all_inner_texts()


def select(page: Page, *wanted: str) -> None:
    for name in wanted:
        page.get_by_role("checkbox", name=f"Select {name}").check(force=True)


def test_filters_and_search(page: Page, studio: ServerWithoutGpu, key: str) -> None:
    enter(page, studio, key)
    tiles = page.locator(".tile")
    expect(tiles).to_have_count(3)
    assert names(page) == NAMES[::-1]
    page.get_by_label("Search the catalogue").fill("WINDOW")
    expect(tiles).to_have_count(1)
    assert "q=WINDOW" in page.url
    page.get_by_role("button", name="Clear").click()
    expect(tiles).to_have_count(3)
    page.get_by_label("Mood", exact=True).and_(page.locator("select")).select_option("calm")
    expect(tiles).to_have_count(2)
    page.locator(".color-filter input").fill("#2456c4")
    expect(tiles).to_have_count(1)
    expect(tiles).to_contain_text("Navy slab")
    page.reload()
    expect(tiles).to_have_count(1)
    # A picture of the client's own words has colours too.
    with studio.client_of(key) as client:
        made = client.post("/v1/image-generation", json={"prompt": "A vase", "dominant_colors": ["royalblue"]})
        studio.finished(made.json()["job_id"], client)
    page.get_by_label("Mood", exact=True).and_(page.locator("select")).select_option("")
    expect(tiles.filter(has_text="A vase")).to_have_count(1)
    page.get_by_role("button", name="Clear").click()
    expect(tiles).to_have_count(4)
    page.get_by_label("Made", exact=True).select_option("yesterday")
    expect(page.get_by_role("heading", name="Nothing fits")).to_be_visible()
    page.get_by_role("button", name="Show everything").click()
    expect(tiles).to_have_count(4)


def test_back_undoes_a_filter_and_a_search(page: Page, studio: ServerWithoutGpu, key: str) -> None:
    enter(page, studio, key)
    tiles = page.locator(".tile")
    mood = page.get_by_label("Mood", exact=True).and_(page.locator("select"))
    search = page.get_by_label("Search the catalogue")
    expect(tiles).to_have_count(3)
    mood.select_option("calm")
    expect(tiles).to_have_count(2)
    # A search that is written bit by bit is undone as a whole.
    for text in ("r", "red"):
        search.fill(text)
        page.wait_for_url(f"**q={text}**")
    expect(tiles).to_have_count(1)
    page.locator(".tile .open").click()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.go_back()
    expect(tiles).to_have_count(2)
    expect(search).to_have_value("")
    page.go_back()
    expect(tiles).to_have_count(3)
    expect(mood).to_have_value("")
    page.go_forward()
    expect(tiles).to_have_count(2)


def test_a_search_keeps_the_space_before_its_next_word(page: Page, studio: ServerWithoutGpu, key: str) -> None:
    enter(page, studio, key)
    search = page.get_by_label("Search the catalogue")
    search.press_sequentially("navy ")
    expect(page.locator(".tile")).to_have_count(1)
    search.press_sequentially("slab")
    expect(search).to_have_value("navy slab")
    page.wait_for_url("**q=navy+slab**")
    expect(page.locator(".tile")).to_have_count(1)


@pytest.mark.parametrize("width", [1001, 1121, 1280, 1920])
def test_pictures_stay_in_their_place_when_one_is_selected(
    page: Page, studio: ServerWithoutGpu, key: str, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    enter(page, studio, key)
    expect(page.locator(".tile")).to_have_count(3)
    ends = "parts => new Set(parts.map((part) => Math.round(part.getBoundingClientRect().bottom / 8))).size"
    assert page.locator(".filters > *").evaluate_all(ends) == 1, "the filters take more than one line"
    before = page.locator(".grid").bounding_box()
    select(page, "Red cloth")
    expect(page.get_by_role("heading", name="Catalogue 1 of 3 selected")).to_be_visible()
    assert page.locator(".grid").bounding_box() == before
    page.get_by_role("button", name="Done").click()
    assert page.locator(".grid").bounding_box() == before


def test_filters_offer_the_words_of_models_and_of_pictures(page: Page, studio: ServerWithoutGpu, key: str) -> None:
    enter(page, studio, key)
    expect(page.locator(".tile")).to_have_count(3)
    known = next(
        model["vocabulary"] for model in studio.client.get("/v1/models").json()["models"] if model["name"] == "tiny"
    )
    for label, words, met in [("Scene", known["scenes"], "window light"), ("Mood", known["moods"], "airy")]:
        offered = page.get_by_role("combobox", name=label, exact=True).and_(page.locator("select"))
        assert set(offered.locator("option").all_inner_texts()) >= {label, met, *words}


def test_what_was_searched_for_is_shown_from_its_beginning(
    page: Page, studio: ServerWithoutGpu, new_client: NewClient
) -> None:
    many = new_client("scrolled")
    add_pictures(studio.data, "scrolled", 300)
    enter(page, studio, many)
    expect(page.locator(".tile").first).to_be_visible()
    page.evaluate("scrollTo({top: 6000, behavior: 'instant'})")
    expect(page.locator("[data-index='0']")).not_to_be_in_viewport()
    page.get_by_label("Search the catalogue").fill("e")
    expect(page.locator("[data-index='1']")).to_be_in_viewport()
    expect(page.get_by_label("Search the catalogue")).to_be_focused()
    page.get_by_label("Search the catalogue").fill("no such thing")
    expect(page.locator(".empty p")).to_have_text("No picture fits the search “no such thing”.")


def test_a_name_turns_nothing_around_it(page: Page, studio: ServerWithoutGpu, new_client: NewClient) -> None:
    key = new_client("turner")
    turned = "abc \u202edef"
    with studio.client_of(key) as client:
        studio.finished(studio.submit(client, display_name=turned, seed=123), client)
    enter(page, studio, key)
    name = page.locator(".tile .name")
    assert name.evaluate("name => getComputedStyle(name).unicodeBidi") == "isolate"
    expect(page.locator(".tile .open")).to_have_attribute("aria-label", re.compile(f"\u2068{turned}\u2069, seed 123"))


def test_favourites_and_the_archive(page: Page, studio: ServerWithoutGpu, key: str) -> None:
    enter(page, studio, key)
    page.get_by_role("button", name="Favourite Sky window").click(force=True)
    page.get_by_role("button", name="Favourites", exact=True).click()
    expect(page.locator(".tile")).to_have_count(1)
    page.get_by_role("button", name="Favourites", exact=True).click()
    select(page, "Red cloth", "Navy slab")
    page.get_by_role("button", name="Archive", exact=True).click()
    expect(page.locator(".tile")).to_have_count(1)
    page.locator(".toast").get_by_role("button", name="Undo").click()
    expect(page.locator(".tile")).to_have_count(3)
    select(page, "Red cloth")
    page.get_by_role("button", name="Archive", exact=True).click()
    page.get_by_role("button", name="Archive", exact=True).click()
    expect(page.get_by_role("heading", name="Archive 1")).to_be_visible()
    select(page, "Red cloth")
    page.get_by_role("button", name="Back to the catalogue").click()
    expect(page.get_by_role("heading", name="Nothing fits")).to_be_visible()


def test_a_favourite_is_found_although_the_server_hears_of_it_late(
    page: Page, studio: ServerWithoutGpu, key: str
) -> None:
    enter(page, studio, key)
    late: list[Route] = []

    def hold_changes(route: Route) -> None:
        if route.request.method == "PATCH":
            late.append(route)
        else:
            route.continue_()

    page.route("**/v1/catalog/**", hold_changes)
    with page.expect_request(lambda request: request.method == "PATCH"):
        page.get_by_role("button", name="Favourite Sky window").click(force=True)
    page.get_by_role("button", name="Favourites", exact=True).click()
    late[0].continue_()
    expect(page.locator(".tile")).to_have_count(1)
    assert names(page) == ["Sky window"]


def test_delete_can_be_taken_back_and_else_holds(page: Page, studio: ServerWithoutGpu, key: str) -> None:
    def kept() -> int:
        with studio.client_of(key) as client:
            return len(client.get("/v1/catalog/backgrounds").json())

    enter(page, studio, key)
    select(page, "Red cloth", "Sky window")
    page.get_by_role("button", name="Delete").click()
    expect(page.locator(".tile")).to_have_count(1)
    page.locator(".toast").get_by_role("button", name="Undo").click()
    expect(page.locator(".tile")).to_have_count(3)
    assert names(page) == NAMES[::-1]
    assert kept() == 3
    page.locator(".tile").first.get_by_role("button").first.focus()
    page.keyboard.press("Delete")
    expect(page.locator(".tile")).to_have_count(2)
    page.get_by_role("button", name="Dismiss").click()
    wait_for(lambda: kept() == 2)
    select(page, "Sky window")
    page.get_by_role("button", name="Delete").click()
    page.goto("about:blank")
    wait_for(lambda: kept() == 1)


def test_many_in_one_download(page: Page, studio: ServerWithoutGpu, key: str, tmp_path: Path) -> None:
    enter(page, studio, key)
    select(page, *NAMES)
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Download zip").click()
    assert downloading.value.suggested_filename == "backlot-3-pictures.zip"
    downloading.value.save_as(tmp_path / "pictures.zip")
    with zipfile.ZipFile(tmp_path / "pictures.zip") as archive:
        assert sorted(archive.namelist()) == ["Navy slab.png", "Red cloth.png", "Sky window.png", "specs.csv"]


def test_two_are_compared(page: Page, studio: ServerWithoutGpu, key: str) -> None:
    enter(page, studio, key)
    select(page, "Red cloth")
    expect(page.get_by_role("button", name="Compare")).to_be_disabled()
    select(page, "Navy slab")
    page.get_by_role("button", name="Compare").click()
    dialog = page.get_by_role("dialog", name="Compare")
    expect(dialog.locator("img")).to_have_count(2)
    # By keyboard, the way out comes after the title, as in the viewer.
    page.keyboard.press("Tab")
    expect(dialog.get_by_role("button", name="Close")).to_be_focused()
    expect(dialog.get_by_role("row").filter(has_text="Scene")).to_contain_text("fabric")
    expect(dialog.get_by_role("row").filter(has_text="Mood")).to_have_count(0)
    dialog.get_by_role("radio", name="One over the other").check()
    expect(dialog.locator("img")).to_have_count(2)
    shown = "getComputedStyle(document.querySelector('.overlaid img:last-child')).clipPath"
    assert page.evaluate(shown) == "inset(0px 0px 0px 50%)"
    dialog.get_by_role("slider", name="Edge between the two pictures").fill("20")
    assert page.evaluate(shown) == "inset(0px 0px 0px 20%)"
    page.go_back()
    expect(dialog).to_have_count(0)


@pytest.mark.parametrize("way", ["Side by side", "One over the other"])
def test_two_of_long_names_are_compared_in_a_low_window(
    page: Page, studio: ServerWithoutGpu, new_client: NewClient, way: str
) -> None:
    made = new_client(f"comparer, {way}")
    with studio.client_of(made) as client:
        for seed in (1, 2):
            studio.finished(studio.submit(client, display_name="W" * 200, seed=seed), client)
    # The size of a window of 1280 by 800 at 200 %.
    page.set_viewport_size({"width": 640, "height": 400})
    enter(page, studio, made)
    for box in page.get_by_role("checkbox", name="Select").all():
        box.evaluate("box => box.click()")
    page.get_by_role("button", name="Compare").click()
    dialog = page.get_by_role("dialog", name="Compare")
    dialog.get_by_role("radio", name=way).check()
    for image in dialog.locator("img").all():
        # In one place, half of one is below the other.
        expect(image).to_be_in_viewport(ratio=0.49)
        assert image.evaluate("image => image.clientHeight") >= 100
    # What tells them apart is never cut.
    for seed in (1, 2):
        expect(dialog.locator("figcaption").get_by_text(f"seed {seed}", exact=True)).to_be_in_viewport(ratio=1)
    for star in dialog.get_by_role("button", name="Favourite").all():
        expect(star).to_be_in_viewport(ratio=1)


def test_pictures_in_three_sizes(page: Page, studio: ServerWithoutGpu, key: str) -> None:
    enter(page, studio, key)
    heights = []
    for size in ("Small", "Medium", "Large"):
        page.get_by_role("button", name="Menu").click()
        page.get_by_role("radio", name=size).check()
        page.keyboard.press("Escape")
        box = page.locator(".tile .open").first.bounding_box()
        assert box
        heights.append(box["height"])
    assert heights == sorted(set(heights))
    page.reload()
    expect(page.locator(".tile")).to_have_count(3)
    box = page.locator(".tile .open").first.bounding_box()
    assert box and box["height"] == heights[-1]


def test_pictures_are_sharp_on_any_screen(browser: Browser, studio: ServerWithoutGpu, key: str) -> None:
    for dots, is_large in ((1, False), (2, True)):
        with browser.new_context(viewport={"width": 1400, "height": 900}, device_scale_factor=dots) as context:
            page = context.new_page()
            enter(page, studio, key)
            image = page.locator(".tile img").first
            expect(image).to_have_js_property("complete", True)
            assert ("large=true" in image.evaluate("image => image.currentSrc")) == is_large


def test_by_keyboard(page: Page, studio: ServerWithoutGpu, key: str) -> None:
    enter(page, studio, key)
    page.get_by_role("button", name="Red cloth", exact=False).and_(page.locator(".open")).focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".open:focus")).to_have_attribute("aria-label", re.compile("Sky window"))
    page.keyboard.press("x")
    expect(page.get_by_role("heading", name="Catalogue 1 of 3 selected")).to_be_visible()
    page.keyboard.press("f")
    expect(page.locator(".tile.favourite")).to_have_count(1)
    page.keyboard.press("End")
    expect(page.locator(".open:focus")).to_have_attribute("aria-label", re.compile("Navy slab"))
    page.keyboard.press("Home")
    tile = page.locator(".tile").filter(has=page.locator(".open:focus"))
    expect(tile).to_have_attribute("aria-posinset", "1")
    expect(tile).to_have_attribute("aria-setsize", "3")
    page.keyboard.press("Escape")
    expect(page.get_by_role("heading", name="Catalogue 3", exact=True)).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="Red cloth")).to_be_visible()


def test_arrows_go_on_from_the_same_picture_when_another_came(
    page: Page, studio: ServerWithoutGpu, new_client: NewClient
) -> None:
    key = new_client("steady", 100)
    with studio.client_of(key) as client:
        for name in ("Third", "Second"):
            studio.finished(studio.submit(client, display_name=name), client)
        enter(page, studio, key)
        page.locator(".open[aria-label^=Second]").focus()
        studio.submit(client, display_name="First")
        expect(page.locator(".tile")).to_have_count(3)
    page.keyboard.press("ArrowRight")
    expect(page.locator(".open[aria-label^=Third]")).to_be_focused()
    page.keyboard.press("Home")
    expect(page.locator(".open[aria-label^=First]")).to_be_focused()


def test_an_expired_link_is_read_again(page: Page, studio: ServerWithoutGpu, key: str) -> None:
    refused: list[str] = []

    def refuse_first(route: Route) -> None:
        if refused:
            route.continue_()
            return
        refused.append(route.request.url)
        route.fulfill(status=403, json={"error": {"code": "LINK_EXPIRED", "message": "", "request_id": ""}})

    page.route("**/thumbnails/**", refuse_first)
    page.route("**/images/**", refuse_first)
    enter(page, studio, key)
    loaded = "[...document.querySelectorAll('.tile img')].filter((image) => image.naturalWidth).length"
    wait_for(lambda: page.evaluate(loaded) == 3)
    assert refused


def test_a_picture_that_a_network_lost_is_asked_for_again_and_one_that_is_gone_is_not(
    page: Page, studio: ServerWithoutGpu, key: str
) -> None:
    with studio.client_of(key) as client:
        job_id = client.get("/v1/catalog/backgrounds").json()[0]["generation_job_public_id"]
    for address in ("**/thumbnails/**", "**/images/**", "**/v1/catalog/backgrounds/*"):
        page.route(address, lambda route: route.abort())
    page.clock.install()
    enter(page, studio, key)
    missing = page.locator(".tile .missing")
    expect(missing).to_have_text(["The picture did not come. It is asked for again."] * 3)
    page.unroute_all()
    (studio.data / "images" / job_id[-2:] / f"{job_id}.png").unlink()
    page.clock.run_for(11_000)
    expect(missing).to_have_text(["The picture is no longer on the server"])
    loaded = "[...document.querySelectorAll('.tile img')].filter((image) => image.naturalWidth).length"
    wait_for(lambda: page.evaluate(loaded) == 2)


def test_what_tells_repeats_apart_is_never_cut(page: Page, studio: ServerWithoutGpu, new_client: NewClient) -> None:
    key = new_client("repeater")
    seeds = [2**53 - 1, 2**32 - 1, 7]
    with studio.client_of(key) as client:
        for ratio in ("9:16", "2:3", "21:9", "1:1"):
            for seed in seeds:
                spec = {"display_name": "Calm oak planks in the evening", "aspect_ratio": ratio, "seed": seed}
                studio.finished(studio.submit(client, **spec), client)
    whole = """
        [...document.querySelectorAll(".tile")].every((tile) => {
          const mark = tile.querySelector(".caption small");
          const range = document.createRange();
          range.selectNodeContents(mark);
          const [text, box] = [range.getBoundingClientRect(), tile.getBoundingClientRect()];
          return text.right <= box.right + 0.5 && text.bottom <= box.bottom + 0.5;
        })
    """
    for width in (390, 820, 1400):
        page.set_viewport_size({"width": width, "height": 2400})
        enter(page, studio, key)
        expect(page.locator(".tile")).to_have_count(12)
        assert page.evaluate(whole), f"at {width} pixels"
        marks = page.locator(".tile small").all_inner_texts()
        assert {int(mark.removeprefix("seed ")) for mark in marks} == set(seeds)


def test_five_thousand_pictures(page: Page, studio: ServerWithoutGpu, new_client: NewClient) -> None:
    key = new_client("collector")
    add_pictures(studio.data, "collector", 5000)
    enter(page, studio, key)
    expect(page.get_by_role("heading", name="Catalogue 5,000")).to_be_visible()
    # The page has only the tiles that are in sight, however far somebody scrolls.
    assert page.locator(".tile").count() < 120
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    last = page.locator(".tile[aria-posinset='5000']")
    for _ in range(150):
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        page.wait_for_timeout(100)
        if last.count():
            break
    assert page.locator(".tile").count() < 120
    last.locator(".open").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("5,000 of 5,000")).to_be_visible()
    expect(dialog.get_by_role("button", name="Older picture")).to_be_disabled()
    page.keyboard.press("ArrowLeft")
    expect(dialog.get_by_text("4,999 of 5,000", exact=True)).to_be_visible()
