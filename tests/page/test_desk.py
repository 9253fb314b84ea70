"""The operator's desk in a real browser, on a real server whose GPU process is a fake."""

import json
import re

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.support.server import ServerWithoutGpu
from tests.support.studio_page import NewClient


@pytest.fixture(scope="module")
def admin_key(studio: ServerWithoutGpu) -> str:
    return studio.backlot("keys", "add", "studio", "--capability", "admin", "--label", "the desk").stdout.strip()


@pytest.fixture
def desk(page: Page, studio: ServerWithoutGpu, admin_key: str) -> Page:
    """Open the desk by a link that carries the key, and answer every question that it asks with yes."""
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto(f"{studio.url}/desk#key={admin_key}")
    expect(page.get_by_role("heading", name="Devices")).to_be_visible()
    return page


def view(desk: Page, name: str) -> None:
    desk.get_by_role("navigation", name="Views").get_by_role("link", name=name).click()


def test_a_key_without_the_capability_is_told_how_to_get_one(
    page: Page, studio: ServerWithoutGpu, admin_key: str
) -> None:
    page.goto(f"{studio.url}/desk")
    page.get_by_label("Operator's key").fill(studio.key)
    page.get_by_role("button", name="Open the desk").click()
    expect(page.get_by_role("alert")).to_have_text("This key lacks the capability admin; it has jobs:create, jobs:read")
    expect(page.get_by_text("backlot keys add CLIENT --capability admin")).to_have_count(1)
    page.get_by_label("Operator's key").fill(admin_key)
    page.get_by_role("button", name="Open the desk").click()
    expect(page.get_by_role("heading", name="Devices")).to_be_visible()
    assert admin_key not in page.url
    page.reload()
    expect(page.get_by_role("heading", name="Devices")).to_be_visible()
    page.get_by_role("button", name="Forget key").click()
    expect(page.get_by_label("Operator's key")).to_be_visible()


def test_the_queue_is_paused_moved_cancelled_and_resumed(desk: Page, studio: ServerWithoutGpu) -> None:
    desk.get_by_role("button", name="Pause").click()
    expect(desk.get_by_text("Paused for")).to_be_visible()
    first, second = studio.submit(display_name="The first"), studio.submit(display_name="The second")
    rows = desk.get_by_role("group", name="Jobs that have not ended").locator("tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.nth(0)).to_contain_text("The first")
    rows.nth(1).get_by_role("button", name="To front").click()
    expect(rows.nth(0)).to_contain_text("The second")
    rows.nth(1).get_by_role("button", name="Cancel").press("Enter")
    expect(rows).to_have_count(1)
    # The pressed button is gone; the keyboard goes on from the view's title.
    expect(desk.get_by_role("heading", name="Now")).to_be_focused()
    assert studio.job(first)["latest_event"]["extra"]["reason"] == "cancelled"
    desk.get_by_role("button", name="Resume").click()
    expect(desk.get_by_text("Nothing waits and nothing runs.")).to_be_visible()
    assert studio.finished(second)["status"] == "SUCCESS"


def test_models_are_unloaded_and_loaded(desk: Page) -> None:
    row = desk.get_by_role("region", name="Models").locator("tbody tr").first
    expect(row.locator(".state")).to_have_text("loaded")
    row.get_by_role("button", name="Unload").click()
    expect(row.locator(".state")).to_have_text("idle")
    row.get_by_role("button", name="Load").click()
    expect(row.locator(".state")).to_have_text("loaded")


def test_clients_and_credits(desk: Page, studio: ServerWithoutGpu) -> None:
    view(desk, "Clients")
    form = desk.get_by_role("form", name="New client")
    form.get_by_label("New client").fill("matte painting")
    form.get_by_label("First credits").fill("50")
    form.get_by_role("button", name="Add").click()
    key = desk.locator(".secret").inner_text()
    client = studio.client_of(key)
    assert studio.credits(client)["balance"] == 50
    desk.get_by_role("button", name="I have it").click()
    expect(desk.locator(".secret")).to_have_count(0)
    row = desk.get_by_role("row").filter(has_text="matte painting")
    row.get_by_label("Credits for matte painting").fill("-20")
    row.get_by_label("Note").fill("too many")
    row.get_by_role("button", name="Grant").click()
    expect(row.get_by_role("cell").nth(1)).to_have_text("30")
    assert client.get("/v1/transactions").json()["items"][0]["label"] == "too many"
    row.get_by_label("Credits for matte painting").fill("-31")
    row.get_by_role("button", name="Grant").click()
    expect(desk.get_by_role("alert")).to_contain_text("take 30 at most")
    row.get_by_role("button", name="Disable").click()
    expect(row).to_contain_text("disabled")
    assert client.get("/v1/credits").status_code == 401
    row.get_by_role("button", name="Enable").click()
    expect(row).not_to_contain_text("disabled")
    assert client.get("/v1/credits").status_code == 200


def test_a_double_click_grants_once(desk: Page, studio: ServerWithoutGpu, new_client: NewClient) -> None:
    with studio.client_of(new_client("roto", 10)) as client:
        desk.reload()
        view(desk, "Clients")
        row = desk.get_by_role("row").filter(has_text="roto")
        row.get_by_label("Credits for roto").fill("5")
        row.get_by_role("button", name="Grant").dblclick()
        expect(row.get_by_role("cell").nth(1)).to_have_text("15")
        expect(row.get_by_label("Credits for roto")).to_have_value("")
        assert studio.credits(client)["granted"] == 15


def test_keys_are_made_and_revoked(desk: Page, studio: ServerWithoutGpu) -> None:
    view(desk, "Keys")
    form = desk.get_by_role("form", name="New key")
    form.get_by_label("New key for").select_option("studio")
    form.get_by_label("Label").fill("render farm")
    form.get_by_label("Expires").fill("2099-01-31")
    form.get_by_role("button", name="Make").click()
    key = desk.locator(".secret").inner_text()
    row = desk.get_by_role("row").filter(has_text="render farm")
    expect(row).to_contain_text("jobs:create, jobs:read")
    expect(row).to_contain_text("31 Jan 2099")
    assert studio.client_of(key).get("/v1/credits").status_code == 200
    row.get_by_role("button", name="Revoke").click()
    expect(row).to_have_count(0)
    desk.get_by_label("Show revoked").check()
    expect(row).to_contain_text("revoked")
    assert studio.client_of(key).get("/v1/credits").status_code == 401


def test_what_was_made_is_shown_whatever_can_be_read_afterwards(
    desk: Page, studio: ServerWithoutGpu, new_client: NewClient
) -> None:
    with studio.client_of(new_client("colouring", 10)) as client:
        desk.reload()
        view(desk, "Clients")
        row = desk.get_by_role("row").filter(has_text="colouring")
        row.get_by_label("Credits for colouring").fill("5")
        error = {"code": "INTERNAL_ERROR", "message": "The server broke", "request_id": ""}
        desk.route("**/v1/admin/failures", lambda route: route.fulfill(status=500, json={"error": error}))
        row.get_by_role("button", name="Grant").click()
        expect(row.get_by_label("Credits for colouring")).to_have_value("")
        expect(desk.get_by_role("alert")).to_have_text("The server broke")
        assert studio.credits(client)["balance"] == 15
    view(desk, "Keys")
    form = desk.get_by_role("form", name="New key")
    form.get_by_label("New key for").select_option("colouring")
    form.get_by_role("button", name="Make").click()
    assert studio.client_of(desk.locator(".secret").inner_text()).get("/v1/credits").status_code == 200


def test_an_order_whose_answer_was_lost_is_not_said_to_be_refused(
    desk: Page, studio: ServerWithoutGpu, new_client: NewClient
) -> None:
    def lose(route: Route) -> None:
        route.fetch()
        route.fulfill(status=504, body="<html>Gateway Time-out</html>")

    with studio.client_of(new_client("lost", 10)) as client:
        desk.reload()
        view(desk, "Clients")
        row = desk.get_by_role("row").filter(has_text="lost")
        desk.route("**/grants", lose)
        row.get_by_label("Credits for lost").fill("5")
        row.get_by_role("button", name="Grant").click()
        alert = desk.get_by_role("alert")
        expect(alert).to_have_text(
            "The server answered 504. Whether this was done is not known: look before you do it again."
        )
        expect(row.get_by_role("cell").nth(1)).to_have_text("15")
        expect(alert).to_be_visible()
        assert studio.credits(client)["balance"] == 15


def test_the_key_is_forgotten_only_if_the_server_refuses_it(page: Page, studio: ServerWithoutGpu) -> None:
    key = studio.backlot("keys", "add", "studio", "--capability", "admin").stdout.strip()
    page.goto(f"{studio.url}/desk#key={key}")
    expect(page.get_by_role("heading", name="Devices")).to_be_visible()
    page.route("**/v1/admin/devices", lambda route: route.fulfill(status=502, body="<html>Bad Gateway</html>"))
    page.reload()
    expect(page.get_by_role("alert")).to_have_text("The server answered 502")
    expect(page.get_by_label("Operator's key")).to_have_value(key)
    page.unroute("**/v1/admin/devices")
    page.get_by_role("button", name="Open the desk").click()
    expect(page.get_by_role("heading", name="Devices")).to_be_visible()
    studio.backlot("keys", "revoke", key)
    expect(page.get_by_role("alert")).to_contain_text("unknown or was revoked")
    page.reload()
    expect(page.get_by_label("Operator's key")).to_have_value("")


def test_a_key_expires_when_the_form_says(browser: Browser, studio: ServerWithoutGpu, admin_key: str) -> None:
    with browser.new_context(locale="en-GB", timezone_id="America/New_York") as context:
        page = context.new_page()
        page.goto(f"{studio.url}/desk#key={admin_key}")
        view(page, "Keys")
        form = page.get_by_role("form", name="New key")
        expires = form.get_by_label("Expires")
        expect(expires).to_have_accessible_description(
            "A key is good until the end of the day on which it expires, by this browser's time (America/New_York)."
        )
        form.get_by_label("Label").fill("night shift")
        expires.fill("2099-01-31")
        form.get_by_role("button", name="Make").click()
        expect(page.get_by_role("row").filter(has_text="night shift")).to_contain_text("31 Jan 2099, 23:59")
        keys = studio.client_of(admin_key).get("/v1/admin/keys").json()["keys"]
        (made,) = [key for key in keys if key["label"] == "night shift"]
        assert made["expires_at"].startswith("2099-02-01T04:59:59")


def test_a_client_may_have_any_name_and_the_smallest_share_a_bar(
    page: Page, studio: ServerWithoutGpu, admin_key: str, new_client: NewClient
) -> None:
    # This is more than any other client of these tests uses, and enough to have a bar of its own.
    for name, jobs in (("others", 8), *((f"small {number}", 1) for number in range(7))):
        with studio.client_of(new_client(name)) as client:
            for job_id in [studio.submit(client) for _ in range(jobs)]:
                studio.finished(job_id, client)
    page.goto(f"{studio.url}/desk#key={admin_key}")
    view(page, "Usage")
    expect(page.locator("rect title", has_text=re.compile(r", others: 40$"))).to_have_count(1)
    rows = page.get_by_role("group", name="Usage by client").locator("tbody tr")
    rest = rows.count() - 6
    expect(page.locator(".legend")).to_have_count(7)
    expect(page.locator(".legend").last).to_have_text(f"{rest} more")
    spent = [int(cell) for cell in rows.locator("td:nth-child(2)").all_inner_texts()]
    expect(page.locator("rect title", has_text=re.compile(rf"{rest} more: {sum(spent[6:])}$"))).to_have_count(1)


def test_usage_is_drawn_and_failures_have_their_log_lines(
    page: Page, studio: ServerWithoutGpu, admin_key: str, new_client: NewClient
) -> None:
    with studio.client_of(new_client("plotted")) as client:
        for _ in range(2):
            studio.finished(studio.submit(client), client)
        failed = studio.submit(client, prompt="broken")
        studio.finished(failed, client)
    page.goto(f"{studio.url}/desk#key={admin_key}")
    view(page, "Usage")
    expect(page.locator("rect title", has_text=re.compile(r"plotted: 10$"))).to_have_count(1)
    page.locator(".segments label", has_text="Failures").click()
    expect(page.locator("rect title", has_text=re.compile(r"plotted: 1$"))).to_have_count(1)
    row = page.get_by_role("row").filter(has_text="plotted")
    assert row.get_by_role("cell").all_inner_texts() == ["plotted", "10", "5", "2", "3", "0", "1"]
    view(page, "Failures")
    card = page.locator(".failures .card").filter(has_text=failed)
    expect(card).to_contain_text("pipeline_error")
    card.locator("summary").click()
    expect(card.locator("pre")).to_contain_text(f"Job {failed}")


@pytest.mark.parametrize("width", [1400, 820, 390])
def test_no_view_scrolls_sideways(desk: Page, width: int) -> None:
    desk.set_viewport_size({"width": width, "height": 900})
    for name in ("Now", "Usage", "Clients", "Keys", "Failures"):
        view(desk, name)
        wide = desk.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert json.loads(str(wide)) <= 0, name


def test_a_server_that_is_gone_is_told_and_comes_back(page: Page, studio: ServerWithoutGpu, admin_key: str) -> None:
    page.goto(f"{studio.url}/desk#key={admin_key}")
    expect(page.get_by_role("heading", name="Devices")).to_be_visible()
    page.context.set_offline(True)
    expect(page.get_by_role("alert")).to_contain_text("does not answer")
    page.context.set_offline(False)
    expect(page.get_by_role("alert")).to_be_hidden()
