"""Trying a failed job again: its cost is said first, it is paid for once, and a job that cannot go well is not offered."""

import re

import httpx
from playwright.sync_api import Locator, Page, Route, expect

from tests.support.server import ServerWithoutGpu
from tests.support.studio_page import NewClient, enter, paused_queue

#: The page tries three times within four seconds.
PATIENCE_MS = 30_000


def broken(studio: ServerWithoutGpu, client: httpx.Client, name: str, seed: int | None = None) -> str:
    """Return the id of a job that has failed."""
    job_id = studio.submit(client, prompt="broken", display_name=name, seed=seed)
    studio.finished(job_id, client)
    return job_id


def offered(page: Page) -> Locator:
    """Return the buttons that offer to try a job again."""
    return page.get_by_role("button", name=re.compile("^Try again"))


def test_a_failed_job_is_tried_again_for_the_price_that_was_said(
    page: Page, studio: ServerWithoutGpu, new_client: NewClient
) -> None:
    key = new_client("again", 100)
    enter(page, studio, key)
    with studio.client_of(key) as client:
        failed = broken(studio, client, "Vase")
        button = page.get_by_role("button", name=re.compile(r"^Try again 5 credits, \w+: Vase$"))
        expect(button).to_be_visible()
        rows = page.locator(".failures li")
        with paused_queue(studio):
            with page.expect_request(f"**/v1/jobs/{failed}/retry") as sent:
                button.press("Enter")
            assert sent.value.headers["max-credits"] == "5"
            expect(page.locator(".making")).to_contain_text("Vase")
            expect(rows).to_have_count(0)
            # The pressed button is gone; the keyboard goes on from the pictures.
            expect(page.get_by_role("region", name="Catalogue")).to_be_focused()
            expect(page.locator(".bar .balance")).to_have_text("95")
        # The job breaks again, and the page says so as of any failure.
        expect(rows).to_contain_text("5 credits given back")
        expect(page.locator(".making")).to_have_count(0)
        assert [job["status"] for job in client.get("/v1/jobs").json()["jobs"]] == ["FAILURE", "FAILURE"]


def test_a_retry_whose_answers_were_lost_is_paid_for_once_even_after_a_reload(
    page: Page, studio: ServerWithoutGpu, new_client: NewClient
) -> None:
    key = new_client("again lost", 100)
    with studio.client_of(key) as client:
        broken(studio, client, "Vase")
        enter(page, studio, key)

        def lose(route: Route) -> None:
            route.fetch()
            route.fulfill(status=504, body="<html>Gateway Time-out</html>")

        page.route(re.compile("/retry$"), lose, times=3)
        button = offered(page)
        with paused_queue(studio):
            button.click()
            expect(page.locator(".toast")).to_contain_text("Press again to find out", timeout=PATIENCE_MS)
            page.reload()
            expect(page.locator(".making")).to_have_count(1)
            button.click()
            expect(button).to_have_count(0)
            expect(page.locator(".making")).to_have_count(1)
            assert len(client.get("/v1/jobs").json()["jobs"]) == 2
            assert studio.credits(client)["balance"] == 95


def test_a_higher_price_is_said_before_it_is_paid(page: Page, studio: ServerWithoutGpu, new_client: NewClient) -> None:
    key = new_client("again dearer", 100)
    with studio.client_of(key) as client:
        broken(studio, client, "Vase")
        enter(page, studio, key)
        button = offered(page)
        expect(button).to_contain_text("5 credits")

        def dearer(route: Route) -> None:
            answer = route.fetch()
            route.fulfill(response=answer, json={**answer.json(), "credits_cost": 7})

        page.route("**/retry?dry_run=true", dearer)
        button.click()
        expect(page.locator(".toast")).to_contain_text("it is 7 credits now, not 5. Nothing was sent")
        expect(button).to_contain_text("7 credits")
        assert len(client.get("/v1/jobs").json()["jobs"]) == 1


def test_a_retry_is_offered_once_there_are_credits_for_it(
    page: Page, studio: ServerWithoutGpu, new_client: NewClient
) -> None:
    key = new_client("again poor", 5)
    with studio.client_of(key) as client:
        broken(studio, client, "Vase")
        running = studio.submit(client, prompt="endless")
        enter(page, studio, key)
        expect(page.locator(".making")).to_have_count(1)
        expect(page.locator(".failures li")).to_have_count(1)
        button = offered(page)
        expect(button).to_have_count(0)
        client.post(f"/v1/jobs/{running}/cancel")
        expect(button).to_contain_text("5 credits")


def test_what_would_fail_again_is_not_offered(page: Page, studio: ServerWithoutGpu, new_client: NewClient) -> None:
    key = new_client("again in vain")
    reasons = {"Dark, any seed": "black_image", "Dark, seed 5": "black_image", "Large": "out_of_memory"}
    with studio.client_of(key) as client:
        for name in reasons:
            seed = 5 if name.endswith("5") else None
            broken(studio, client, name, seed)

    def tell(route: Route) -> None:
        found = route.fetch().json()
        for job in found["jobs"]:
            job["latest_event"]["extra"]["reason"] = reasons[job["request"]["display_name"]]
        route.fulfill(json=found)

    page.route(re.compile(r"/v1/jobs\?.*status=FAILURE"), tell)
    enter(page, studio, key)
    page.get_by_role("button", name="Show all").click()
    expect(page.locator(".failures li")).to_have_count(3)
    expect(offered(page)).to_have_accessible_name(re.compile("Dark, any seed$"))
    expect(page.get_by_role("button", name="Use settings of Dark, seed 5")).to_be_visible()
