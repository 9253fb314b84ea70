"""The form: its messages before anything is paid, what it sends, and what it keeps."""

import re

from playwright.sync_api import Page, Route, expect

from tests.support.server import ServerWithoutGpu
from tests.support.studio_page import NewClient, describe, enter, generate, paused_queue


def add_color(page: Page, text: str) -> None:
    page.get_by_label("Add a colour").fill(text)
    page.keyboard.press("Enter")


def test_problems_are_shown_at_their_fields(page: Page, studio: ServerWithoutGpu) -> None:
    enter(page, studio, studio.key)
    describe(page, scene=" ")
    generate(page)
    expect(page.locator("#scene_type-below")).to_have_text("What should be in the picture? Marble, for example.")
    expect(page.locator("#scene_type")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#scene_type")).to_be_focused()
    expect(page.locator("#mood-below .problem")).to_have_count(0)
    page.locator("#scene_type").fill("marble")
    expect(page.locator("#scene_type-below .problem")).to_have_count(0)
    page.locator("#seed").fill("one")
    generate(page)
    expect(page.locator("#seed-below")).to_contain_text("A whole number")
    page.locator("#seed").fill("")
    page.get_by_text("More options").click()
    page.get_by_label("What it should not show").fill("x" * 100)
    page.locator("#pilot_brand").fill("y")
    expect(page.locator(".order .problem")).to_be_hidden()


def test_what_is_wrong_with_a_field_is_in_sight_with_its_label(page: Page, studio: ServerWithoutGpu) -> None:
    enter(page, studio, studio.key)
    describe(page)
    page.locator("#seed").fill("one")
    generate(page)
    expect(page.locator("#seed")).to_be_focused()
    expect(page.locator("#seed-below .problem")).to_be_in_viewport(ratio=1)
    expect(page.locator("label[for=seed]")).to_be_in_viewport(ratio=1)
    page.locator("#seed").fill("")
    describe(page, scene=" ", mood=" ")
    page.locator("#seed").scroll_into_view_if_needed()
    generate(page)
    expect(page.locator("label[for=scene_type]")).to_be_in_viewport(ratio=1)
    expect(page.locator("#scene_type-below .problem")).to_be_in_viewport(ratio=1)


def test_a_problem_that_goes_takes_nobody_to_the_next_one(page: Page, studio: ServerWithoutGpu) -> None:
    enter(page, studio, studio.key)
    describe(page, scene=" ", mood=" ")
    generate(page)
    expect(page.locator("#scene_type")).to_be_focused()
    expect(page.locator("#mood-below .problem")).to_have_count(1)
    page.keyboard.type("marble")
    expect(page.locator("#scene_type")).to_have_value(" marble")
    expect(page.locator("#scene_type")).to_be_focused()


def test_a_model_that_follows_no_negative_prompt_is_sent_none(page: Page, studio: ServerWithoutGpu) -> None:
    def tell(route: Route) -> None:
        models = route.fetch().json()
        for model in models["models"]:
            model["negative_prompt"] = model["name"] != "tiny"
        route.fulfill(json=models)

    page.route("**/v1/models", tell)
    enter(page, studio, studio.key)
    describe(page)
    page.get_by_text("More options").click()
    negative = page.get_by_label("What it should not show")
    negative.fill("glare")
    expect(page.locator("summary")).to_contain_text("1 set")
    with page.expect_request(lambda request: '"image_model":"tiny"' in (request.post_data or "")) as asked:
        page.locator("#image_model").select_option("tiny")
    sent = asked.value.post_data_json
    assert sent is not None
    assert sent.get("negative_prompt") is None
    expect(negative).to_have_count(0)
    expect(page.locator("summary")).not_to_contain_text("set")


def test_colors_in_any_way_that_css_knows_and_how_many_are_used(page: Page, studio: ServerWithoutGpu) -> None:
    enter(page, studio, studio.key)
    describe(page)
    page.locator("#image_model").select_option("tiny")
    for text in ("navy", "rgb(1, 2, 3)", "#f4e9d8, terracotta"):
        add_color(page, text)
    chips = page.get_by_role("list", name="Chosen colours").get_by_role("listitem")
    expect(chips).to_have_count(4)
    expect(chips.first).to_contain_text("navy")
    add_color(page, "bluish")
    expect(page.locator("#dominant_colors-below")).to_contain_text("“bluish” is no colour")
    page.get_by_label("Add a colour").fill("")
    for text in ("sage", "plum", "gold", "white"):
        add_color(page, text)
    expect(page.get_by_label("Add a colour")).to_have_count(0)
    models = studio.client.get("/v1/models").json()["models"]
    limit = next(model["vocabulary"]["colors"] for model in models if model["name"] == "tiny")
    expect(page.locator("#dominant_colors-below")).to_contain_text(f"uses the first {limit}")
    expect(page.locator(".chip.unused")).to_have_count(8 - limit)
    page.get_by_role("button", name="Remove colour 2").click()
    expect(chips).to_have_count(7)
    with page.expect_request(re.compile(r"/v1/background-generator$")) as sent:
        generate(page)
    body = sent.value.post_data_json
    assert body
    assert body["dominant_colors"][:2] == ["#000080", "#f4e9d8"]


def test_what_the_model_understands_is_told_before_it_is_paid(page: Page, studio: ServerWithoutGpu) -> None:
    enter(page, studio, studio.key)
    page.locator("#image_model").select_option("tiny")
    describe(page, scene="a red sports car on the moon")
    expect(page.locator("#mood-below")).to_contain_text("knows no such scene. It would make: sweep, warm")
    describe(page, scene="oak planks", mood="cosy")
    expect(page.locator("#mood-below")).to_contain_text("understands: wood, warm")
    describe(page, scene="wood", mood="warm")
    expect(page.locator("#mood-below")).to_be_empty()


def test_the_price_is_shown_and_a_higher_one_is_not_taken(
    page: Page, studio: ServerWithoutGpu, new_client: NewClient
) -> None:
    enter(page, studio, new_client("careful", 100))
    describe(page)
    page.get_by_role("group", name="How many").get_by_role("radio", name="4").check()
    expect(page.locator(".price")).to_have_text("20 credits 4 × 5")
    expect(page.locator(".wait")).to_contain_text("the first in about")

    def dearer(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json={**answer.json(), "credits_cost": 7})

    page.route("**/v1/background-generator?dry_run=true", dearer)
    generate(page)
    expect(page.locator(".order [role=alert]")).to_contain_text("it is 28 credits now, not 20. Nothing was sent")
    expect(page.locator(".price")).to_have_text("28 credits 4 × 7")
    expect(page.locator(".bar .balance")).to_have_text("100")


def test_a_change_is_asked_about_even_if_the_last_answer_is_still_to_come(page: Page, studio: ServerWithoutGpu) -> None:
    enter(page, studio, studio.key)
    page.locator("#image_model").select_option("tiny")
    describe(page)
    expect(page.locator("#mood-below")).to_be_empty()
    held: list[Route] = []
    page.route("**/v1/background-generator?dry_run=true", lambda route: held.append(route), times=1)
    with page.expect_request("**/v1/background-generator?dry_run=true"):
        describe(page, scene="a red sports car on the moon")
    # The answer about the first draft comes after the change, and before the page asks about the change.
    describe(page, scene="oak planks", mood="cosy")
    held[0].continue_()
    expect(page.locator("#mood-below")).to_contain_text("understands: wood, warm")


def test_each_request_says_the_most_it_may_cost(page: Page, studio: ServerWithoutGpu) -> None:
    enter(page, studio, studio.key)
    describe(page)
    with page.expect_request(re.compile(r"/v1/background-generator$")) as sent:
        generate(page)
    assert sent.value.headers["max-credits"] == "5"
    assert sent.value.headers["idempotency-key"]


def test_after_the_largest_seed_comes_the_first(page: Page, studio: ServerWithoutGpu, new_client: NewClient) -> None:
    key = new_client("largest seed")
    enter(page, studio, key)
    describe(page)
    page.locator("#seed").fill(str(2**53 - 2))
    page.get_by_role("group", name="How many").get_by_role("radio", name="4").check()
    generate(page)
    expect(page.locator(".tile")).to_have_count(4)
    with studio.client_of(key) as client:
        jobs = client.get("/v1/jobs", params={"expand": "result"}).json()["jobs"]
    assert sorted(job["request"]["seed"] for job in jobs) == [0, 1, 2**53 - 2, 2**53 - 1]


def test_without_credits_it_says_once_what_to_do(page: Page, studio: ServerWithoutGpu, new_client: NewClient) -> None:
    enter(page, studio, new_client("poor", 12))
    expect(page.get_by_role("heading", name="Nothing here yet")).to_be_visible()
    page.locator(".ideas button").first.click()
    expect(page.locator("#scene_type")).to_have_value("marble")
    expect(page.locator("#scene_type")).to_be_focused()
    page.get_by_role("group", name="How many").get_by_role("radio", name="3").check()
    told = "15 credits, and you have 12: ask the operator for more"
    alerts = page.locator(".order [role=alert]:visible")
    expect(alerts).to_have_text(told)
    button = page.locator(".order button")
    expect(button).to_be_disabled()
    expect(button).to_have_accessible_description(told)
    page.locator("#mood").press("Enter")
    page.locator("#mood").press("Control+Enter")
    expect(alerts).to_have_text(told)
    studio.backlot("clients", "grant", "poor", "5")
    # Pressed again, the button looks for credits that came meanwhile.
    page.locator("#mood").press("Enter")
    expect(page.locator(".price")).to_have_text("15 credits 3 × 5")
    expect(alerts).to_have_count(0)
    generate(page)
    expect(page.locator(".tile")).to_have_count(3)
    # The remaining credits are too few for one more, and the server refuses to estimate it.
    page.get_by_role("group", name="How many").get_by_role("radio", name="1").check()
    expect(alerts).to_have_text("5 credits, and you have 2: ask the operator for more")


def test_no_wait_is_promised_for_a_model_that_could_not_be_loaded(
    page: Page, studio: ServerWithoutGpu, new_client: NewClient
) -> None:
    def tell(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json={**answer.json(), "load_errors": {"tiny": "No such file"}})

    page.route("**/readyz", tell)
    key = new_client("unloadable")
    enter(page, studio, key)
    describe(page)
    wait = page.locator(".wait")
    expect(wait).to_contain_text("ready in about")
    page.locator("#image_model").select_option("tiny")
    expect(wait).to_have_text(
        "tiny could not be loaded. It is tried again for your picture; if that fails, it costs nothing."
    )
    with paused_queue(studio), studio.client_of(key) as client:
        job_id = studio.submit(client, image_model="tiny")
        expect(page.locator(".making .status")).to_have_text("Waits for tiny, which could not be loaded yet")
        client.post(f"/v1/jobs/{job_id}/cancel")


def test_a_reload_loses_nothing_of_the_form(page: Page, studio: ServerWithoutGpu) -> None:
    enter(page, studio, studio.key)
    describe(page, "beach", "airy")
    add_color(page, "navy")
    page.get_by_role("radio", name="16:9").check()
    page.locator("#seed").fill("77")
    page.get_by_text("More options").click()
    page.get_by_label("Name", exact=True).fill("Postcard")
    page.reload()
    expect(page.locator("#scene_type")).to_have_value("beach")
    expect(page.locator("#mood")).to_have_value("airy")
    expect(page.locator(".chip")).to_contain_text("navy")
    expect(page.get_by_role("radio", name="16:9")).to_be_checked()
    expect(page.locator("#seed")).to_have_value("77")
    expect(page.locator("summary")).to_contain_text("1 set")


def test_own_words(page: Page, studio: ServerWithoutGpu, new_client: NewClient) -> None:
    enter(page, studio, new_client("writer"))
    page.get_by_role("radio", name="Own words").check()
    generate(page)
    expect(page.locator("#prompt-below")).to_have_text("Say in your own words what you want to see.")
    page.get_by_label("Describe the picture").fill("A marble slab in evening light")
    page.keyboard.press("Control+Enter")
    tile = page.get_by_role("listitem").filter(has_text="A marble slab in evening light")
    expect(tile.locator("img")).to_be_visible()
    expect(page.locator(".tile")).to_have_count(1)
    page.get_by_label("Kind").select_option("backgrounds")
    expect(page.get_by_role("heading", name="Nothing fits")).to_be_visible()


def test_more_options_open_in_sight(page: Page, studio: ServerWithoutGpu) -> None:
    page.set_viewport_size({"width": 1200, "height": 700})
    enter(page, studio, studio.key)
    page.get_by_text("More options").click()
    page.wait_for_timeout(600)
    first = page.get_by_label("Name", exact=True).bounding_box()
    bar = page.locator(".order").bounding_box()
    assert first and bar
    assert first["y"] + first["height"] <= bar["y"]


def test_nothing_glides_for_those_who_ask_for_less_motion(page: Page, studio: ServerWithoutGpu) -> None:
    page.add_init_script("""
        window.glides = [];
        const scroll = Element.prototype.scrollIntoView;
        Element.prototype.scrollIntoView = function (how) {
          window.glides.push(how.behavior);
          scroll.call(this, how);
        };
    """)
    for wanted, behavior in (("no-preference", "smooth"), ("reduce", "instant")):
        page.emulate_media(reduced_motion=wanted)  # type: ignore[arg-type]
        enter(page, studio, studio.key)
        page.reload()
        page.get_by_text("More options").click()
        page.wait_for_function("window.glides.length > 0")
        assert page.evaluate("window.glides") == [behavior]


def test_styles_move_nothing_for_those_who_ask_for_less_motion(page: Page, studio: ServerWithoutGpu) -> None:
    # No universal selector reaches the bar inside a <progress>, and no script sees it move: so read the rules themselves.
    moving = """[...document.styleSheets].flatMap((sheet) => [...sheet.cssRules]).flatMap((rule) => {
      const isFor = (rule) => rule.style.transitionProperty || rule.style.animationName;
      if (rule instanceof CSSMediaRule && rule.conditionText === "(prefers-reduced-motion: no-preference)") return [];
      return [rule, ...(rule.cssRules ?? [])].filter((rule) => rule.style && isFor(rule)).map((rule) => rule.cssText);
    })"""
    for path in ("/", "/desk"):
        page.goto(studio.url + path)
        expect(page.get_by_role("textbox")).to_be_visible()
        assert page.evaluate(moving) == []
