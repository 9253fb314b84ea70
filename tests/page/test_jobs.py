"""The lists of jobs that run and jobs that failed, whoever asked for them."""

import re

from playwright.sync_api import APIResponse, Page, Route, expect

from tests.support.many_pictures import add_pictures
from tests.support.server import ServerWithoutGpu
from tests.support.studio_page import NewClient, describe, enter, generate, paused_queue

#: The id of a picture in the middle of the row at the upper edge of the window.
IN_THE_MIDDLE = """(() => {
  const tiles = [...document.querySelectorAll(".tile")];
  const top = Math.max(...tiles.map((tile) => tile.getBoundingClientRect().top).filter((top) => top <= 0));
  const row = tiles.filter((tile) => tile.getBoundingClientRect().top === top);
  return row[row.length >> 1].dataset.id;
})()"""


def test_variations_are_told_apart_and_one_is_cancelled(
    page: Page, studio: ServerWithoutGpu, new_client: NewClient
) -> None:
    key = new_client("varied", 100)
    enter(page, studio, key)
    describe(page, "endless beach", "bright")
    page.locator("#seed").fill("7")
    page.get_by_role("group", name="How many").get_by_role("radio", name="5").check()
    generate(page)
    cards = page.locator(".making")
    expect(cards).to_have_count(5)
    expect(cards.filter(has_text="4 of 5")).to_have_count(1)
    expect(page.locator(".bar .balance")).to_have_text("75")
    cards.filter(has_text="5 of 5").get_by_role("button", name="Cancel Bright endless beach, 5 of 5").click()
    expect(page.locator(".toast")).to_contain_text("Cancelled. 5 credits given back.")
    expect(cards).to_have_count(4)
    expect(page.get_by_role("heading", name="Not made")).to_have_count(0)
    expect(page.locator(".bar .balance")).to_have_text("80")
    with studio.client_of(key) as client:
        jobs = client.get("/v1/jobs", params={"expand": "result"}).json()["jobs"]
    assert sorted(job["request"]["seed"] for job in jobs) == [7, 8, 9, 10, 11]
    page.reload()
    expect(cards).to_have_count(4)
    assert cards.locator(".caption small").all_inner_texts() == [f"{number} of 5" for number in (4, 3, 2, 1)]
    page.get_by_role("button", name="Cancel all").click()
    expect(cards).to_have_count(0)
    expect(page.locator(".toast").last).to_contain_text("4 jobs cancelled. 20 credits given back.")


def test_a_finished_picture_is_where_it_was_made_and_moves_no_other(
    page: Page, studio: ServerWithoutGpu, new_client: NewClient
) -> None:
    key = new_client("calm", 100)
    with studio.client_of(key) as client:
        for seed in range(7):
            studio.finished(studio.submit(client, display_name="Earlier", seed=seed), client)
        enter(page, studio, key)
        expect(page.locator(".tile")).to_have_count(7)
        toolbar = page.locator(".toolbar").bounding_box()
        with paused_queue(studio):
            one, other = (studio.submit(client, display_name=name) for name in ("First", "Second"))
            expect(page.locator(".making")).to_have_count(2)
            places = [tile.bounding_box() for tile in page.locator(".making, .tile").all()]
            assert page.locator(".toolbar").bounding_box() == toolbar
        for job_id in (one, other):
            studio.finished(job_id, client)
    expect(page.locator(".tile")).to_have_count(9)
    expect(page.locator(".making")).to_have_count(0)
    assert page.locator(".tile .name").all_inner_texts()[:2] == ["Second", "First"]
    assert [tile.bounding_box() for tile in page.locator(".tile").all()] == places
    assert page.locator(".toolbar").bounding_box() == toolbar


def test_an_answer_that_a_job_s_end_overtook_shows_no_picture_in_the_making(
    page: Page, studio: ServerWithoutGpu, new_client: NewClient
) -> None:
    key = new_client("overtaken", 100)
    asked = re.compile(r"/v1/jobs\?.*ids=")
    made: list[str] = []
    held: list[tuple[Route, APIResponse]] = []

    def hold(route: Route) -> None:
        if held or not made or made[0] not in route.request.url:
            route.continue_()
        else:
            held.append((route, route.fetch()))

    page.route(asked, hold)
    enter(page, studio, key)
    with studio.client_of(key) as client:
        # From the first picture on the page hears of jobs as they come.
        studio.finished(studio.submit(client), client)
        expect(page.locator(".tile")).to_have_count(1)
        with page.expect_request(lambda request: bool(made) and made[0] in request.url):
            made.append(studio.submit(client, prompt="endless"))
        for _ in range(250):
            if held:
                break
            page.wait_for_timeout(20)
        with page.expect_response(asked):
            client.post(f"/v1/jobs/{made[0]}/cancel")
        [(route, answer)] = held
        route.fulfill(response=answer)
        studio.finished(studio.submit(client), client)
    expect(page.locator(".tile")).to_have_count(2)
    expect(page.locator(".making")).to_have_count(0)


def test_pictures_far_down_stay_in_their_place_while_another_is_made(
    page: Page, studio: ServerWithoutGpu, new_client: NewClient
) -> None:
    key = new_client("reader", 100)
    add_pictures(studio.data, "reader", 60)
    enter(page, studio, key)
    expect(page.locator(".tile").first).to_be_visible()
    page.evaluate("scrollTo({top: 1000, behavior: 'instant'})")
    tile = page.locator(f"[data-id='{page.evaluate(IN_THE_MIDDLE)}']")
    before = tile.bounding_box()
    with studio.client_of(key) as client:
        for number in range(61, 65):
            with paused_queue(studio):
                job_id = studio.submit(client, aspect_ratio="16:9")
                expect(page).to_have_title("(1) Backlot")
            studio.finished(job_id, client)
            expect(page.get_by_role("heading", name=f"Catalogue {number}")).to_be_visible()
            expect(page).to_have_title("Backlot")
    after = tile.bounding_box()
    assert before and after
    assert abs(after["y"] - before["y"]) < 8


def test_what_was_ordered_from_far_down_comes_into_sight(
    page: Page, studio: ServerWithoutGpu, new_client: NewClient
) -> None:
    key = new_client("browser", 100)
    add_pictures(studio.data, "browser", 100)
    enter(page, studio, key)
    expect(page.locator(".tile").first).to_be_visible()
    page.evaluate("scrollTo({top: 2000, behavior: 'instant'})")
    expect(page.locator("[data-index='0']")).not_to_be_in_viewport()
    describe(page)
    with paused_queue(studio):
        generate(page)
        expect(page.locator(".making")).to_be_in_viewport()


def test_the_pictures_of_one_job_are_told_apart_by_number(
    page: Page, studio: ServerWithoutGpu, new_client: NewClient
) -> None:
    key = new_client("one of eight", 100)
    enter(page, studio, key)
    with studio.client_of(key) as client:
        job_id = client.post("/v1/image-generation", json={"prompt": "endless marble", "n": 8}).json()["job_id"]
        pictures = page.get_by_role("list", name="In progress").get_by_role("listitem")
        expect(pictures).to_have_count(8)
        second = pictures.filter(has_text="2 of 8")
        expect(second).to_contain_text("Step 1 of 3")
        expect(second.get_by_role("button", name="Cancel all 8 of Endless marble")).to_be_visible()
        page.reload()
        expect(second).to_contain_text("Step 1 of 3")
        client.post(f"/v1/jobs/{job_id}/cancel")
        client.post("/v1/image-generation", json={"prompt": "a slab", "n": 8})
    tiles = page.locator(".tile")
    expect(tiles).to_have_count(8)
    assert sorted(tiles.locator("small").all_inner_texts()) == [f"{number} of 8" for number in range(1, 9)]
    expect(page.get_by_role("button", name="A slab, 3 of 8").and_(page.locator(".open"))).to_have_count(1)
    page.get_by_role("checkbox", name="Select A slab, 3 of 8").check(force=True)
    page.get_by_role("button", name="Select its order").click()
    expect(page.get_by_role("heading", name="Catalogue 8 of 8 selected")).to_be_visible()


def test_a_running_job_says_how_far_it_is_and_a_waiting_one_its_place(
    page: Page, studio: ServerWithoutGpu, new_client: NewClient
) -> None:
    key = new_client("queuer")
    enter(page, studio, key)
    with studio.client_of(key) as client:
        ids = [studio.submit(client, prompt="endless", display_name=f"Number {n}") for n in range(12)]
        try:
            running = page.locator(".making.running").first
            expect(running).to_contain_text("Step 1 of 3")
            assert float(running.locator("progress").get_attribute("value") or 0) > 20
            expect(page.locator(".making.waiting").first).to_contain_text(" ahead, about")
            expect(page).to_have_title("(12) Backlot")
            # More of them would push the catalogue out of sight.
            expect(page.locator(".making")).to_have_count(8)
        finally:
            for job_id in ids:
                client.post(f"/v1/jobs/{job_id}/cancel")
    expect(page.locator(".making")).to_have_count(0)


def test_all_of_many_jobs_are_counted_and_cancelled(
    page: Page, studio: ServerWithoutGpu, new_client: NewClient
) -> None:
    key = new_client("orderer of many", 5000)
    with paused_queue(studio), studio.client_of(key) as client:
        for _ in range(210):
            studio.submit(client)
        enter(page, studio, key)
        expect(page).to_have_title("(210) Backlot")
        page.get_by_role("button", name="Cancel all 210").click()
        expect(page.locator(".making")).to_have_count(0)
        expect(page.locator(".bar .balance")).to_have_text("5,000")
        assert client.get("/v1/jobs", params={"status": "NOT_STARTED"}).json()["total"] == 0


def test_what_a_script_makes_appears_by_itself_and_stands_once(
    page: Page, studio: ServerWithoutGpu, new_client: NewClient
) -> None:
    key = new_client("scripter", 100)
    enter(page, studio, key)
    expect(page.get_by_role("heading", name="Nothing here yet")).to_be_visible()
    with studio.client_of(key) as client:
        studio.submit(client, display_name="From afar", dominant_colors=["#2456c4"])
    tile = page.locator(".tile")
    expect(tile).to_have_count(1)
    expect(tile).to_contain_text("From afar")
    expect(page.locator(".bar .balance")).to_have_text("95")
    expect(page.locator(".making")).to_have_count(0)


def test_jobs_are_followed_even_if_the_first_read_fails(
    page: Page, studio: ServerWithoutGpu, new_client: NewClient
) -> None:
    key = new_client("patient")
    failing = {re.compile(r"/v1/events\?since="): "aborted", re.compile(r"/v1/jobs\?.*NOT_STARTED"): "answered"}
    for url, how in failing.items():

        def fail(route: Route, how: str = how) -> None:
            if how == "aborted":
                route.abort()
            else:
                route.fulfill(status=500, json={"error": {"code": "INTERNAL_ERROR", "message": "", "request_id": ""}})

        page.route(url, fail, times=2)
    enter(page, studio, key)
    with studio.client_of(key) as client:
        job_id = studio.submit(client, prompt="endless", display_name="From afar")
        expect(page.locator(".making")).to_contain_text("From afar", timeout=20_000)
        client.post(f"/v1/jobs/{job_id}/cancel")
    expect(page.locator(".making")).to_have_count(0)


def test_a_device_that_slept_goes_on_with_streams(page: Page, studio: ServerWithoutGpu, new_client: NewClient) -> None:
    key = new_client("sleeper")
    page.clock.install()
    enter(page, studio, key)
    with studio.client_of(key) as client:
        studio.finished(studio.submit(client), client)
        expect(page.locator(".tile")).to_have_count(1)
        # All timers that became due meanwhile ring once, as after a laptop was opened.
        with page.expect_request("**/v1/events*") as again:
            page.clock.fast_forward("01:00:00")
        assert again.value.headers.get("accept") == "text/event-stream"
        studio.finished(studio.submit(client), client)
        expect(page.locator(".tile")).to_have_count(2)


def test_a_proxy_that_holds_streams_back_is_asked_in_turns(
    page: Page, studio: ServerWithoutGpu, new_client: NewClient
) -> None:
    key = new_client("behind a buffer")
    held: list[Route] = []

    def hold_streams(route: Route) -> None:
        if route.request.headers.get("accept") == "text/event-stream":
            held.append(route)
        else:
            route.continue_()

    page.route("**/v1/events*", hold_streams)
    page.clock.install()
    with page.expect_request(lambda request: request.headers.get("accept") == "text/event-stream"):
        enter(page, studio, key)
    with page.expect_request(re.compile(r"/v1/events\?.*wait=")):
        page.clock.fast_forward(40_000)
    with studio.client_of(key) as client:
        studio.finished(studio.submit(client), client)
    expect(page.locator(".tile")).to_have_count(1)
    assert len(held) == 1
    # After a while the laptop may be in another network.
    with page.expect_request(lambda request: request.headers.get("accept") == "text/event-stream", timeout=60_000):
        page.clock.fast_forward("00:31:00")


def test_a_failure_says_why_and_what_was_given_back_also_after_a_reload(
    page: Page, studio: ServerWithoutGpu, new_client: NewClient
) -> None:
    key = new_client("unlucky", 100)
    enter(page, studio, key)
    with studio.client_of(key) as client:
        studio.finished(studio.submit(client, prompt="broken", display_name="Vase"), client)
    row = page.locator(".failures li")
    expect(row).to_contain_text("The model could not make this picture")
    expect(row).to_contain_text("5 credits given back")
    expect(page.locator(".bar .balance")).to_have_text("100")
    page.reload()
    expect(row).to_contain_text("5 credits given back")
    row.get_by_role("button", name="Use settings of Vase").click()
    expect(page.locator("#scene_type")).to_have_value("marble")
    row.get_by_role("button", name="Dismiss Vase").click()
    expect(row).to_have_count(0)
    page.reload()
    expect(page.get_by_role("heading", name="Catalogue")).to_be_visible()
    expect(row).to_have_count(0)


def test_the_reason_of_a_failure_has_the_width_that_the_buttons_leave(
    page: Page, studio: ServerWithoutGpu, new_client: NewClient
) -> None:
    page.set_viewport_size({"width": 1280, "height": 800})
    key = new_client("terse")
    with studio.client_of(key) as client:
        for name in ("Mug", "Jug", "Pot", "Vase"):
            studio.finished(studio.submit(client, prompt="broken", display_name=name), client)
    enter(page, studio, key)
    expect(page.locator(".failures .hint")).to_have_text("and 2 more")
    row = page.locator(".failures li").first
    expect(row.get_by_role("button", name="Try again")).to_be_visible()
    reason, time = row.locator(".why").bounding_box(), row.locator("time").bounding_box()
    whole = row.bounding_box()
    assert reason and time and whole
    assert reason["x"] - whole["x"] < 30
    assert time["x"] - (reason["x"] + reason["width"]) < 30


def test_long_names_do_not_widen_the_page(page: Page, studio: ServerWithoutGpu, new_client: NewClient) -> None:
    key = new_client("wordy")
    with studio.client_of(key) as client:
        studio.finished(studio.submit(client, display_name="W" * 200), client)
        studio.finished(studio.submit(client, prompt="broken", display_name="W" * 200), client)
        endless = studio.submit(client, prompt="endless", display_name="W" * 200)
        for width in (360, 820, 1400):
            page.set_viewport_size({"width": width, "height": 800})
            enter(page, studio, key)
            expect(page.locator(".tile")).to_have_count(1)
            expect(page.locator(".making")).to_have_count(1)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        client.post(f"/v1/jobs/{endless}/cancel")
