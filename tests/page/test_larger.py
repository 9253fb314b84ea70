"""A model that enlarges its pictures: its tiers on the page, their prices, and a picture that is made larger."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.support.server import ServerWithoutGpu
from tests.support.studio_page import describe, enter, generate

LARGER = """
[models.fake.upscale]
tiers = ["1K", "2K"]
[operations.background-generator]
tier_factors = { "1K" = 3, "2K" = 15 }
"""


@pytest.fixture
def larger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerWithoutGpu]:
    server = ServerWithoutGpu(tmp_path_factory.mktemp("larger"), LARGER)
    server.start()
    yield server
    server.stop()


def test_a_tier_is_chosen_at_its_price_and_a_picture_is_made_larger(page: Page, larger: ServerWithoutGpu) -> None:
    enter(page, larger, larger.key)
    describe(page)
    resolution, price = page.locator("#resolution"), page.locator(".order .price")
    expect(resolution.locator("option")).to_have_text(["0.5K", "1K", "2K"])
    expect(price).to_have_text("5 credits")
    resolution.select_option("2K")
    expect(price).to_have_text("75 credits")
    expect(page.locator("#resolution-below")).to_contain_text("about 2048 × 2048")
    generate(page)
    expect(page.locator(".tile .open")).to_have_count(1)
    assert larger.credits()["spent"] == 75

    page.locator(".tile .open").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("2048 × 2048 pixels")
    # There is no tier above it.
    expect(dialog.get_by_role("button", name="Make it larger")).to_have_count(0)
    page.keyboard.press("Escape")

    resolution.select_option("0.5K")
    page.locator("#seed").fill("7")
    generate(page)
    expect(page.locator(".tile .open")).to_have_count(2)
    page.locator(".tile .open").first.click()
    expect(dialog).to_contain_text("512 × 512 pixels")
    dialog.get_by_role("button", name="Make it larger, 1K").click()
    expect(dialog).to_have_count(0)
    # The form holds the same picture, at the next tier and its price.
    expect(resolution).to_have_value("1K")
    expect(page.locator("#seed")).to_have_value("7")
    expect(price).to_have_text("15 credits")
    generate(page)
    expect(page.locator(".tile .open")).to_have_count(3)
    page.locator(".tile .open").first.click()
    expect(dialog).to_contain_text("1024 × 1024 pixels")
    assert larger.credits()["spent"] == 75 + 5 + 15
