"""The choice of a batch size from measured costs."""

import msgspec
import pytest

from pipelines.batch_choice import MOST_LOST, BatchCost, BatchCosts, CostKey, Running, call_size_for

KEY = CostKey("a", "a GPU", 512, 512)


def test_the_least_working_memory_of_the_present_model_counts() -> None:
    larger = msgspec.structs.replace(KEY, width=1024)
    costs = BatchCosts()
    for key, revision, working in (
        (KEY, "old now", 1),
        (larger, "new now", 900),
        (KEY, "new now", None),
        (KEY, "new now", 500),
        # Another process took memory at the same time.
        (KEY, "new now", 700),
        (KEY, "new now", None),
    ):
        costs.note(BatchCost(key, 1, revision, 1.0, 1000, working))
    costs.note(BatchCost(KEY, 2, "new now", 1.0, 1000, 400))

    def image_bytes(batch_size: int, revision: str, device: str = "a GPU") -> int | None:
        return costs.image_bytes("a", device, batch_size, lambda found: found == revision)

    assert image_bytes(1, "new now") == 500
    assert image_bytes(2, "new now") == 400
    assert image_bytes(4, "new now") is None
    assert image_bytes(1, "old now") is None
    assert image_bytes(1, "new now", "another GPU") is None


def cost(batch_size: int, seconds: float | None, revision: str = "r", key: CostKey = KEY) -> BatchCost:
    return BatchCost(key, batch_size, revision, seconds, None if seconds is None else 1)


def costs_of(measured: dict[int, float | None]) -> BatchCosts:
    costs = BatchCosts()
    for size, seconds in measured.items():
        costs.note(cost(size, seconds))
    return costs


@pytest.mark.parametrize(
    ("measured", "images", "chosen"),
    [
        ({}, 1, 1),
        ({}, 8, 1),
        ({1: 1.0}, 1, 1),
        ({1: 1.0}, 2, 2),
        ({1: 1.0}, 8, 2),
        ({1: 1.0, 2: 1.2}, 8, 4),
        ({1: 1.0, 2: 1.2}, 2, 2),
        ({1: 1.0, 2: 2.0}, 8, 1),
        ({1: 1.0, 2: 1.2, 4: 2.4}, 8, 2),
        ({1: 1.0, 2: 1.2, 4: 2.4}, 1, 1),
        ({1: 1.0, 2: 1.2, 4: 1.4, 8: 1.6}, 3, 4),
        ({1: 1.0, 2: 1.1, 4: None}, 8, 2),
        ({1: 1.0, 2: None}, 8, 1),
        ({1: None}, 8, 1),
    ],
    ids=[
        "the first try",
        "the first try of many",
        "one image fills one slot",
        "two images make the next size worth a try",
        "one size is tried at a time",
        "a better size makes the next one worth a try",
        "no image would fill the next one",
        "a worse size ends the tries",
        "a size that gains nothing ends the tries",
        "one image is soonest alone",
        "three images of four slots",
        "a size that did not fit ends the tries",
        "nor is any larger one tried",
        "nothing fits",
    ],
)
def test_a_slot_group_opens_with_the_best_batch_size(
    measured: dict[int, float | None], images: int, chosen: int
) -> None:
    costs = costs_of(measured)
    assert costs.batch_size_for(KEY, [1, 2, 4, 8], images) == chosen


def test_half_of_what_did_not_fit_is_chosen_if_no_allowed_size_fits() -> None:
    assert costs_of({4: None}).batch_size_for(KEY, [4, 8], 8) == 2


def test_a_cost_of_other_weights_replaces_all_of_its_model() -> None:
    costs = costs_of({1: 1.0, 2: 1.1, 4: None})
    costs.note(cost(1, 1.0, "new", CostKey("a", "a GPU", 768, 512)))
    assert costs.batch_size_for(KEY, [4], 8) == 4


#: Seconds of a step by slots, as on a large GPU: four slots take less than twice as long as one.
CHEAP = {1: 3.0, 2: 3.6, 4: 5.0, 8: 7.0}
#: Seconds of a step by slots, as on a CPU.
DEAR = {1: 3.0, 2: 5.9, 4: 11.7, 8: 23.3}


@pytest.mark.parametrize(
    ("seconds", "running", "waiting", "again"),
    [
        (CHEAP, Running(1, 1, 0.0), 3, True),
        (CHEAP, Running(1, 1, 5.9), 3, True),
        (CHEAP, Running(1, 1, 6.0), 3, False),
        (CHEAP, Running(1, 1, 1.0, 4.9), 3, True),
        (CHEAP, Running(1, 1, 1.0, 5.0), 3, False),
        (CHEAP, Running(1, 1, 0.0), 1, True),
        (CHEAP, Running(4, 4, 0.0), 1, False),
        (CHEAP, Running(2, 2, 0.0), 2, True),
        (CHEAP, Running(2, 2, 0.0), 6, True),
        (CHEAP, Running(4, 4, 0.0), 4, True),
        (CHEAP, Running(8, 8, 0.0), 8, False),
        (CHEAP, Running(1, 1, 0.0), 4000, False),
        (DEAR, Running(1, 1, 0.0), 7, False),
        ({1: 3.0}, Running(1, 1, 0.0), 3, False),
        ({1: 3.0, 4: 6.0}, Running(1, 1, 0.0), 3, False),
        ({1: 3.0, 2: 4.0, 4: None}, Running(1, 1, 0.0), 1, True),
        ({2: 4.0, 4: 6.0, 8: 10.0}, Running(1, 1, 0.0), 3, False),
    ],
    ids=[
        "three more at once",
        "three more before a fifth of its time",
        "three more after a fifth of its time",
        "it lost a little before",
        "it lost a fifth in all",
        "one more",
        "one more would need slots of its own",
        "two and two",
        "two and six",
        "four and four",
        "more slots are not better",
        "one image in a long queue is no great gain",
        "a batch is hardly quicker than its images",
        "only its own size was measured",
        "the size that would open was not measured",
        "a size that did not fit is left aside",
        "its own size was not measured",
    ],
)
def test_images_begin_again_together_if_all_are_there_clearly_sooner(
    seconds: dict[int, float | None], running: Running, waiting: int, again: bool
) -> None:
    assert MOST_LOST == 0.2
    assert costs_of(seconds).should_begin_again(KEY, [1, 2, 4, 8], 10, running, waiting) is again


@pytest.mark.parametrize(
    ("seconds", "images", "chosen"),
    [
        ({}, 1, 2),
        ({}, 3, 4),
        ({2: 1.0}, 3, 4),
        ({2: 1.0, 4: 1.1}, 3, 4),
        ({2: 1.0, 4: 1.8}, 3, 2),
        ({2: 1.0, 4: 1.8}, 4, 4),
        ({2: 1.0, 4: 0.5}, 1, 2),
    ],
    ids=[
        "smallest",
        "smallest for three",
        "the time of all is not known",
        "cheap padding",
        "two, then one",
        "all four",
        "never more than needed",
    ],
)
def test_a_call_takes_the_most_images_a_second(seconds: dict[int, float], images: int, chosen: int) -> None:
    assert call_size_for([4, 2], images, seconds) == chosen
