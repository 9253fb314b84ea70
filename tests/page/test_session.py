"""The key: how the page uses a good one, a bad one, another one, and one that has used up its rate limit."""

import json

import pytest
from playwright.sync_api import Page, Route, expect

from tests.support.server import ServerWithoutGpu, wait_for
from tests.support.studio_page import NewClient, describe, enter


def test_a_bad_key_gets_the_servers_message_and_a_good_one_is_kept_until_forgotten(
    page: Page, studio: ServerWithoutGpu
) -> None:
    page.goto(f"{studio.url}/#key=sk_live_nobody")
    expect(page.get_by_role("alert")).to_contain_text("This key is unknown or was revoked")
    page.get_by_label("Your key").fill(f"  {studio.url}/#key={studio.key} ")
    page.get_by_role("button", name="Open the studio").click()
    expect(page.get_by_role("heading", name="New picture")).to_be_visible()
    assert page.url == f"{studio.url}/", "the key stays in the address bar"
    page.reload()
    expect(page.get_by_role("heading", name="New picture")).to_be_visible()
    page.get_by_role("button", name="Menu").click()
    page.get_by_role("button", name="Forget key").click()
    expect(page.get_by_label("Your key")).to_be_focused()
    page.reload()
    expect(page.get_by_label("Your key")).to_be_visible()


def test_a_key_that_may_only_read_is_told_what_it_lacks(page: Page, studio: ServerWithoutGpu) -> None:
    enter(page, studio, studio.backlot("keys", "add", "studio", "--capability", "jobs:read").stdout.strip())
    describe(page)
    page.locator(".order button").click()
    expect(page.locator(".order [role=alert]")).to_have_text(
        "This key lacks the capability jobs:create; it has jobs:read. Ask the operator for one that has it."
    )


def refuse_first(page: Page, *, retry_after_s: int) -> list[str]:
    """Answer the page's first request for the models as if it was beyond the rate limit; return what was refused so far."""
    refused: list[str] = []

    def refuse(route: Route) -> None:
        if refused:
            route.continue_()
            return
        refused.append(route.request.url)
        error = {"code": "RATE_LIMITED", "message": "too many", "request_id": ""}
        route.fulfill(status=429, headers={"Retry-After": str(retry_after_s)}, json={"error": error})

    page.route("**/v1/models", refuse)
    return refused


def test_a_start_beyond_the_rate_limit_waits_and_enters(page: Page, studio: ServerWithoutGpu) -> None:
    refused = refuse_first(page, retry_after_s=2)
    page.goto(f"{studio.url}/#key={studio.key}")
    expect(page.locator(".notice")).to_contain_text("The studio opens by itself in")
    expect(page.get_by_label("Your key")).to_have_value(studio.key)
    expect(page.get_by_role("heading", name="New picture")).to_be_visible()
    assert refused


def test_the_notice_of_the_rate_limit_goes_even_if_timers_are_early(page: Page, studio: ServerWithoutGpu) -> None:
    # Timers ring 100 ms early: those of browsers are early by up to one, now and then.
    page.add_init_script("""
        const wait = window.setTimeout;
        window.setTimeout = (work, ms = 0, ...rest) => wait(work, Math.max(0, ms - 100), ...rest);
    """)
    refuse_first(page, retry_after_s=1)
    page.goto(f"{studio.url}/#key={studio.key}")
    expect(page.locator(".notice")).to_contain_text("There were too many requests")
    expect(page.get_by_role("heading", name="New picture")).to_be_visible()
    expect(page.locator(".notice")).to_have_count(0)


def with_picture(studio: ServerWithoutGpu, key: str, name: str) -> None:
    with studio.client_of(key) as client:
        studio.finished(studio.submit(client, display_name=name), client)


def count_pictures(studio: ServerWithoutGpu, key: str) -> int:
    with studio.client_of(key) as client:
        return len(client.get("/v1/catalog/backgrounds").json())


def take_other_key(page: Page, how: str, key: str) -> None:
    """Go on with another client's key: by the form, or by a link that carries it."""
    if how == "form":
        page.get_by_role("button", name="Menu").click()
        page.get_by_role("button", name="Forget key").click()
        page.get_by_label("Your key").fill(key)
        page.get_by_role("button", name="Open the studio").click()
    else:
        page.evaluate("key => void (location.hash = `#key=${key}`)", key)


@pytest.mark.parametrize("how", ["form", "link"])
def test_what_was_deleted_is_deleted_under_its_own_key(
    page: Page, studio: ServerWithoutGpu, new_client: NewClient, how: str
) -> None:
    one, other = new_client(f"deleter by {how}"), new_client(f"next by {how}")
    with_picture(studio, one, "Secret product")
    with_picture(studio, other, "Other product")
    enter(page, studio, one)
    page.get_by_role("checkbox", name="Select Secret product").check(force=True)
    page.get_by_role("button", name="Delete").click()
    expect(page.locator(".toast")).to_contain_text("1 picture deleted")
    take_other_key(page, how, other)
    expect(page.locator(".tile")).to_contain_text("Other product")
    expect(page.locator(".toast")).to_have_count(0)
    wait_for(lambda: count_pictures(studio, one) == 0)
    assert count_pictures(studio, other) == 1


def test_a_deletion_that_failed_puts_nothing_into_the_next_clients_catalogue(
    page: Page, studio: ServerWithoutGpu, new_client: NewClient
) -> None:
    one, other = new_client("failing deleter"), new_client("next to it")
    with_picture(studio, one, "Secret product")
    with_picture(studio, other, "Other product")
    enter(page, studio, one)
    page.get_by_role("checkbox", name="Select Secret product").check(force=True)
    page.get_by_role("button", name="Delete").click()
    held: list[Route] = []
    page.route("**/v1/catalog/backgrounds/*", lambda route: held.append(route))
    take_other_key(page, "form", other)
    expect(page.locator(".tile")).to_contain_text("Other product")
    expect(page.get_by_role("toolbar", name="With the selected pictures")).to_have_count(0)
    error = {"code": "INTERNAL_ERROR", "message": "The server broke", "request_id": ""}
    held[0].fulfill(status=500, json={"error": error})
    expect(page.locator(".toast")).to_contain_text("1 picture could not be deleted. The server broke")
    expect(page.locator(".tile")).to_have_count(1)
    assert held[0].request.headers["authorization"] == f"Bearer {one}"


def test_an_answer_that_comes_late_is_not_shown_to_the_next_client(
    page: Page, studio: ServerWithoutGpu, new_client: NewClient
) -> None:
    one, other = new_client("late"), new_client("later")
    with studio.client_of(one) as client:
        running = studio.submit(client, prompt="endless", display_name="Secret product")
        wait_for(lambda: studio.job(running, client)["status"] == "IN_PROGRESS")
        held: list[Route] = []
        page.route("**/v1/jobs?*IN_PROGRESS*", lambda route: held.append(route), times=1)
        with page.expect_request("**/v1/jobs?*IN_PROGRESS*"):
            enter(page, studio, one)
        take_other_key(page, "form", other)
        expect(page.get_by_role("heading", name="Nothing here yet")).to_be_visible()
        with page.expect_response("**/v1/jobs?*IN_PROGRESS*"):
            held[0].continue_()
        # This job is submitted, and shown, after the late answer.
        studio.submit(studio.client_of(other), prompt="endless", display_name="Other product")
        expect(page.locator(".making")).to_have_count(1)
        expect(page.locator(".making")).to_contain_text("Other product")
        client.post(f"/v1/jobs/{running}/cancel")
        page.get_by_role("button", name="Cancel Other product").click()
        expect(page.locator(".making")).to_have_count(0)


def test_a_key_for_the_desk_is_shown_the_way_there(page: Page, studio: ServerWithoutGpu) -> None:
    message = "This key lacks the capability jobs:read; it has admin"
    error = {"code": "FORBIDDEN", "message": message, "request_id": ""}
    page.route("**/v1/credits", lambda route: route.fulfill(status=403, json={"error": error}))
    page.goto(f"{studio.url}/#key={studio.key}")
    expect(page.get_by_role("alert")).to_have_text(
        "This is a key for the desk, where the operator works. Go to the desk"
    )
    page.get_by_role("link", name="Go to the desk").click()
    expect(page).to_have_url(f"{studio.url}/desk")


def test_a_key_is_kept_while_the_server_is_away(page: Page, studio: ServerWithoutGpu) -> None:
    enter(page, studio, studio.key)
    page.route("**/v1/models", lambda route: route.fulfill(status=502, body="<html>Bad Gateway</html>"))
    page.reload()
    expect(page.get_by_role("alert")).to_have_text("The server answered 502")
    page.unroute("**/v1/models")
    page.reload()
    expect(page.get_by_role("heading", name="New picture")).to_be_visible()


def test_the_notice_says_what_the_server_says(page: Page, studio: ServerWithoutGpu) -> None:
    ready = studio.client.get("/readyz").json()
    reason = "the disk with /data has 0.40 GiB free, and BACKLOT_DISK_FREE_GIB is 1; remove files, or lower that"
    page.route("**/readyz", lambda route: route.fulfill(status=503, json={**ready, "ready": False, "reason": reason}))
    enter(page, studio, studio.key)
    notice = page.locator(".notice")
    expect(notice).to_have_text(f"The server is not ready: {reason}. What is in the queue waits.")
    error = {"code": "TOO_MANY_CONNECTIONS", "message": "8192 connections are busy", "request_id": ""}
    page.route("**/readyz", lambda route: route.fulfill(status=503, json={"error": error}))
    expect(notice).to_have_text("8192 connections are busy")
    page.route("**/readyz", lambda route: route.fulfill(status=502, body="<html>Bad Gateway</html>"))
    expect(notice).to_contain_text("The server does not answer")
    page.unroute("**/readyz")
    expect(notice).to_have_count(0)


def test_the_page_tells_at_once_that_the_server_is_away_and_that_it_is_back(
    page: Page, studio: ServerWithoutGpu
) -> None:
    enter(page, studio, studio.key)
    describe(page)
    engine = page.locator(".engine")
    expect(engine).not_to_have_class("engine waits")
    # The page reads the readiness every half minute, unless another request goes unanswered.
    page.route("**/*", lambda route: route.abort())
    button = page.locator(".order button")
    button.click()
    expect(page.locator(".order [role=alert]")).to_contain_text("The server does not answer")
    expect(engine).to_have_text("No answer")
    expect(engine).to_have_class("engine waits")
    notice = page.locator(".notice")
    expect(notice).to_contain_text("The server does not answer")
    expect(button).to_be_in_viewport(ratio=1)
    page.unroute("**/*")
    expect(notice).to_have_count(0)
    expect(engine).not_to_have_text("No answer")
    expect(page.locator(".order [role=alert]")).to_have_text("The server answers again. Nothing was sent: press again.")


@pytest.mark.parametrize("stage", ["loading", "retrying"])
def test_the_header_hears_of_a_gpu_process_that_is_gone(page: Page, studio: ServerWithoutGpu, stage: str) -> None:
    ready = studio.client.get("/readyz").json()
    job = {
        "cursor": 1,
        "job_public_id": "job_nobodys",
        "event_type": "stage",
        "stage": stage,
        "message": "",
        "extra": {},
    }
    event = {**job, "seq": 1, "artifacts": [], "created_at": "2026-01-01T00:00:00Z"}
    held: list[Route] = []
    page.route("**/v1/events", lambda route: held.append(route), times=1)
    enter(page, studio, studio.key)
    expect(page.locator(".engine")).not_to_have_class("engine waits")
    wait_for(lambda: page.evaluate("1") == 1 and bool(held))
    page.route("**/readyz", lambda route: route.fulfill(status=503, json={**ready, "ready": False, "reason": "starts"}))
    held[0].fulfill(content_type="text/event-stream", body=f"data: {json.dumps(event)}\n\n")
    expect(page.locator(".engine")).to_have_text("Not ready")


def test_what_was_spent(page: Page, studio: ServerWithoutGpu, new_client: NewClient) -> None:
    key = new_client("spender", 40)
    with studio.client_of(key) as client:
        studio.finished(studio.submit(client), client)
        studio.finished(studio.submit(client, scene_type="broken vase"), client)
    enter(page, studio, key)
    page.locator(".bar").get_by_role("button", name="credits").click()
    account = page.get_by_role("region", name="Credits")
    expect(account.locator(".sums")).to_contain_text("Spent today5 credits")
    expect(account.locator(".spendings li")).to_have_count(3)
    page.keyboard.press("Escape")
    expect(account).to_be_hidden()
    expect(page.locator(".bar").get_by_role("button", name="credits")).to_be_focused()


def test_all_of_the_menu_is_in_reach_in_a_low_window(page: Page, studio: ServerWithoutGpu) -> None:
    # The size of a window of 1280 by 800 at 200 %.
    page.set_viewport_size({"width": 640, "height": 400})
    enter(page, studio, studio.key)
    page.get_by_role("button", name="Menu").click()
    expect(page.get_by_role("heading", name="Keys")).to_be_attached()
    forget = page.get_by_role("button", name="Forget key")
    forget.scroll_into_view_if_needed()
    expect(forget).to_be_in_viewport(ratio=1)


def test_light_and_dark(page: Page, studio: ServerWithoutGpu) -> None:
    enter(page, studio, studio.key)
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(ground)
    assert dark != light
    page.get_by_role("button", name="Menu").click()
    page.get_by_role("radio", name="Light").check()
    assert page.evaluate(ground) == light
    page.reload()
    expect(page.get_by_role("search")).to_be_visible()
    assert page.evaluate(ground) == light


def test_all_of_the_page_comes_from_this_server(page: Page, studio: ServerWithoutGpu) -> None:
    requested: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    enter(page, studio, studio.key)
    page.wait_for_timeout(500)
    assert [url for url in requested if not url.startswith((f"{studio.url}/", "data:", "blob:"))] == []
    assert complaints == []
