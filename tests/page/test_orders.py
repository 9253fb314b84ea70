"""Orders whose answers are lost: each is paid for once, and the page says what it knows."""

import re

import httpx
from playwright.sync_api import Page, Route, expect

from tests.support.server import ServerWithoutGpu
from tests.support.studio_page import NewClient, describe, enter, generate

ORDERS = re.compile(r"/v1/background-generator$")
#: The page tries three times within four seconds.
PATIENCE_MS = 30_000
UNKNOWN = "Whether it was taken is not known. Press again to find out"


class LossyProxy:
    """A proxy that passes orders on, and replaces some of their answers by a page of its own."""

    def __init__(self, page: Page) -> None:
        self.keys: list[str] = []
        #: The answers that pass before one is lost, how many are lost then, and the status in their place.
        self.lose_from, self.lose, self.status = 0, 0, 504
        page.route(ORDERS, self._pass_on)

    def _pass_on(self, route: Route) -> None:
        self.keys.append(route.request.headers["idempotency-key"])
        answer = route.fetch()
        if self.lose_from > 0 or self.lose == 0:
            self.lose_from -= 1
            route.fulfill(response=answer)
            return
        self.lose -= 1
        route.fulfill(status=self.status, content_type="text/html", body="<html>Gateway Time-out</html>")


def generate_whole(page: Page) -> None:
    """Press the button, and wait until everything was sent or something went wrong."""
    generate(page)
    expect(page.locator(".order button")).to_contain_text("Generate", timeout=PATIENCE_MS)


def count_jobs(client: httpx.Client) -> int:
    return len(client.get("/v1/jobs").json()["jobs"])


def test_an_answer_that_a_proxy_lost_is_asked_for_again(
    page: Page, studio: ServerWithoutGpu, new_client: NewClient
) -> None:
    key = new_client("retried", 100)
    enter(page, studio, key)
    describe(page)
    proxy = LossyProxy(page)
    proxy.lose, proxy.status = 1, 502
    generate_whole(page)
    expect(page.locator(".tile")).to_have_count(1)
    expect(page.locator(".order [role=alert]")).to_be_hidden()
    assert len(proxy.keys) == 2
    assert len(set(proxy.keys)) == 1
    with studio.client_of(key) as client:
        assert count_jobs(client) == 1
        assert studio.credits(client)["balance"] == 95


def test_an_order_of_which_nobody_knows_keeps_its_key_until_the_draft_changes(
    page: Page, studio: ServerWithoutGpu, new_client: NewClient
) -> None:
    key = new_client("lost", 100)
    enter(page, studio, key)
    describe(page)
    proxy = LossyProxy(page)
    proxy.lose = 3
    generate_whole(page)
    problem = page.locator(".order [role=alert]")
    expect(problem).to_contain_text(UNKNOWN)
    expect(problem).not_to_contain_text("charged")
    expect(page.locator(".tile")).to_have_count(1)
    generate_whole(page)
    expect(problem).to_be_hidden()
    # The job had ended by then, and is not shown as waiting.
    expect(page.locator(".making")).to_have_count(0)
    assert len(proxy.keys) == 4
    assert len(set(proxy.keys)) == 1
    proxy.lose = 3
    generate_whole(page)
    expect(problem).to_contain_text(UNKNOWN)
    describe(page, mood="cool")
    generate_whole(page)
    expect(page.locator(".tile")).to_have_count(3)
    assert len(set(proxy.keys)) == 3
    with studio.client_of(key) as client:
        assert count_jobs(client) == 3
        assert studio.credits(client)["balance"] == 85


def test_an_order_of_several_that_broke_off_is_completed(
    page: Page, studio: ServerWithoutGpu, new_client: NewClient
) -> None:
    key = new_client("completed", 17)
    enter(page, studio, key)
    describe(page)
    page.get_by_role("group", name="How many").get_by_role("radio", name="3").check()
    expect(page.locator(".price")).to_contain_text("15 credits")
    proxy = LossyProxy(page)
    proxy.lose_from, proxy.lose = 1, 3
    generate_whole(page)
    expect(page.locator(".order [role=alert]")).to_contain_text(
        f"1 of 3 are on the way. The server answered 504. {UNKNOWN}"
    )
    # Two are paid by now, so the balance is less than the price of all three.
    expect(page.locator(".bar .balance")).to_have_text("7")
    generate_whole(page)
    expect(page.locator(".order .problem")).to_be_hidden()
    expect(page.locator(".tile")).to_have_count(3)
    with studio.client_of(key) as client:
        assert count_jobs(client) == 3
        assert studio.credits(client)["balance"] == 2


def test_one_more_that_was_lost_is_paid_for_once(page: Page, studio: ServerWithoutGpu, new_client: NewClient) -> None:
    key = new_client("varied once", 100)
    with studio.client_of(key) as client:
        studio.finished(studio.submit(client), client)
    enter(page, studio, key)
    page.locator(".tile .open").click()
    proxy = LossyProxy(page)
    proxy.lose = 3
    vary = page.get_by_role("button", name="Vary 5 credits")
    vary.click()
    toasts = page.get_by_role("dialog").locator(".toast")
    expect(toasts).to_contain_text(UNKNOWN, timeout=PATIENCE_MS)
    vary.click()
    expect(page.get_by_role("button", name="Show the next of 1 new")).to_be_visible()
    assert len(set(proxy.keys)) == 1
    with studio.client_of(key) as client:
        assert count_jobs(client) == 2
        assert studio.credits(client)["balance"] == 90


def test_only_a_server_that_refused_an_order_is_said_to_have_charged_nothing(
    page: Page, studio: ServerWithoutGpu, new_client: NewClient
) -> None:
    key = new_client("charged", 100)
    with studio.client_of(key) as client:
        studio.finished(studio.submit(client), client)
    enter(page, studio, key)
    describe(page)

    def envelope(status: int, code: str, message: str) -> None:
        error = {"code": code, "message": message, "request_id": ""}
        page.route(ORDERS, lambda route: route.fulfill(status=status, json={"error": error}))

    problem = page.locator(".order [role=alert]")
    for code, message, told in (
        ("TOO_MANY_CONNECTIONS", "All are busy", "All are busy. Nothing was charged."),
        ("BUSY", "Locked; nothing was made or charged. Try again", "Locked; nothing was made or charged. Try again."),
        (
            "DISK_FULL",
            "full",
            "The server's disk is full. Try again in a little while, and tell the operator. Nothing was charged.",
        ),
    ):
        envelope(503, code, message)
        generate_whole(page)
        expect(problem).to_have_text(told)
    envelope(500, "INTERNAL_ERROR", "The server broke")
    generate_whole(page)
    expect(problem).to_contain_text(f"The server broke. {UNKNOWN}")
    page.unroute(ORDERS)

    error = {"code": "INTERNAL_ERROR", "message": "The server broke", "request_id": ""}
    page.route("**/v1/catalog/backgrounds/*", lambda route: route.fulfill(status=500, json={"error": error}))
    page.get_by_role("button", name="Favourite Warm marble").click(force=True)
    expect(page.locator(".toast")).to_contain_text("could not be changed. The server broke")
    expect(page.locator(".toast")).not_to_contain_text("harged")
