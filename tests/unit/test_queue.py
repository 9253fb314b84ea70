"""The choice of the next image: decisions that need no clock, no disk and no GPU."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.scheduler.queue import Affinity, BatchKey, Queue, Waiting


def key(model: str = "a", width: int = 512) -> BatchKey:
    return BatchKey(model, width, 512, 4, 1.0)


def waiting(
    name: str, client: int = 1, at: float = 0.0, batch_key: BatchKey | None = None, priority: int = 0
) -> Waiting:
    return Waiting(name, client, batch_key or key(), at, priority=priority)


def gpu_with(*models: str) -> Affinity:
    """Return the affinity of a GPU that holds these models and has taken nothing."""
    return Affinity(loaded=dict.fromkeys(models, "revision"))


def next_one(queue: Queue, gpu: Affinity, now: float = 0.0) -> str | None:
    """Take the image that would open slots."""
    image = queue.next(now, gpu)
    if image is None:
        return None
    queue.take(image, now, gpu)
    return image.image_id


def next_in(queue: Queue, gpu: Affinity, batch_key: BatchKey, now: float = 0.0) -> str | None:
    """Take the image that would enter open slots."""
    image = queue.next_for(batch_key, now, gpu)
    if image is None:
        return None
    queue.take(image, now, gpu)
    return image.image_id


def test_oldest_first_within_a_client() -> None:
    queue, gpu = Queue(), Affinity()
    for name in "abc":
        queue.add(waiting(name))
    assert [next_one(queue, gpu) for _ in range(4)] == ["a", "b", "c", None]


def test_slots_take_one_key_only() -> None:
    queue, gpu = Queue(), gpu_with("a")
    queue.add(waiting("a"))
    queue.add(waiting("wide", batch_key=key(width=768)))
    queue.add(waiting("b"))
    assert next_one(queue, gpu) == "a"
    assert next_in(queue, gpu, key()) == "b"
    assert next_in(queue, gpu, key()) is None
    assert next_one(queue, gpu) == "wide"


def test_clients_are_served_alternately() -> None:
    queue, gpu = Queue(), Affinity()
    for index in range(6):
        queue.add(waiting(f"big-{index}", client=1))
    queue.add(waiting("small-0", client=2))
    queue.add(waiting("small-1", client=2))
    assert [next_one(queue, gpu) for _ in range(4)] == ["big-0", "small-0", "big-1", "small-1"]


def test_an_idle_client_saves_up_no_claim() -> None:
    queue, gpu = Queue(), Affinity()
    for index in range(20):
        queue.add(waiting(f"a{index}", client=1))
    for _ in range(10):
        next_one(queue, gpu)
    for index in range(5):
        queue.add(waiting(f"b{index}", client=2))
    order = [str(next_one(queue, gpu))[0] for _ in range(6)]
    assert order.count("a") == order.count("b") == 3


def test_a_client_that_sends_one_at_a_time_takes_no_more_than_its_share() -> None:
    queue, gpu = Queue(), Affinity()
    for index in range(40):
        queue.add(waiting(f"b{index}", client=2))
    queue.add(waiting("a", client=1))
    order: list[str] = []
    for index in range(20):
        order.append(str(next_one(queue, gpu)))
        if order[-1].startswith("a"):
            queue.add(waiting(f"a{index}", client=1))
    assert 9 <= sum(name.startswith("a") for name in order) <= 11


@pytest.mark.parametrize(("priority", "share"), [(1, 2), (2, 4), (0, 1)])
def test_priority_is_a_share_and_starves_nobody(priority: int, share: int) -> None:
    queue, gpu = Queue(), Affinity()
    for index in range(100):
        queue.add(waiting(f"high-{index}", client=1, priority=priority))
        queue.add(waiting(f"low-{index}", client=2))
    order = [str(next_one(queue, gpu)) for _ in range(10 * (share + 1))]
    assert sum(name.startswith("low") for name in order) == 10


def test_the_model_in_memory_is_kept_only_for_a_while() -> None:
    queue, gpu = Queue(model_patience_s=10), Affinity()
    queue.add(waiting("first", client=2, at=0))
    assert next_one(queue, gpu, 0) == "first"
    gpu.loaded["a"] = "revision"
    queue.add(waiting("other", client=1, at=1, batch_key=key("b")))
    for index in range(5):
        queue.add(waiting(f"same-{index}", client=2, at=1))
    assert next_in(queue, gpu, key(), 5) == "same-0"
    assert next_one(queue, gpu, 6) == "same-1"
    assert next_in(queue, gpu, key(), 11) is None
    assert next_one(queue, gpu, 11) == "other"


def test_a_long_backlog_does_not_swap_at_every_image() -> None:
    """Check a backlog that waited longer than any patience: the GPU serves each model for a while, not for one image."""
    queue, gpu = Queue(model_patience_s=10), Affinity()
    for index in range(50):
        queue.add(waiting(f"a{index}", at=0))
        queue.add(waiting(f"b{index}", at=0, batch_key=key("b")))
    loads = 0
    for now in range(1000, 1100):
        image = queue.next(now, gpu)
        assert image is not None
        queue.take(image, now, gpu)
        loads += image.key.model not in gpu.loaded
        gpu.loaded = {image.key.model: "revision"}
    assert loads <= 100 / 10 + 1


def test_models_in_memory_that_alternate_put_off_no_third() -> None:
    """Let two clients keep the GPU busy with a model each; the third client's must be loaded first."""
    queue, gpu = Queue(model_patience_s=30, size_patience_s=5), gpu_with("a", "b")
    queue.add(waiting("c", client=3, at=0, batch_key=key("c")))
    open_key = key("a")
    served: list[int] = []
    for now in range(120):
        for client, model in enumerate("ab"):
            queue.add(waiting(f"{model}{now}", client, now, key(model)))
        image = queue.next_for(open_key, now, gpu) or queue.next(now, gpu)
        assert image is not None
        queue.take(image, now, gpu)
        if image.image_id == "c":
            served.append(now)
        # The slots of one of them close every few seconds.
        open_key = key("ab"[now // 4 % 2])
    assert len(served) == 1
    assert 30 <= served[0] <= 36


def test_other_slots_of_a_model_in_memory_open_sooner() -> None:
    queue, gpu = Queue(model_patience_s=30, size_patience_s=5), Affinity()
    queue.add(waiting("first", client=2, at=0))
    next_one(queue, gpu, 0)
    gpu.loaded["a"] = "revision"
    queue.add(waiting("wide", client=1, at=0, batch_key=key(width=768)))
    queue.add(waiting("square", client=2, at=0))
    assert queue.next_for(key(), 4, gpu) is not None
    assert queue.next_for(key(), 5, gpu) is None


def test_each_gpu_has_its_own_patience() -> None:
    """Let two GPUs with a model each take from one queue: neither swaps for a model that the other one serves."""
    queue = Queue(model_patience_s=30)
    first, second = gpu_with("a"), gpu_with("b")
    for index in range(4):
        queue.add(waiting(f"a{index}", client=1, at=100, batch_key=key("a")))
        queue.add(waiting(f"b{index}", client=1, at=100, batch_key=key("b")))
    taken = [(next_one(queue, first, now), next_one(queue, second, now)) for now in range(100, 104)]
    assert taken == [(f"a{index}", f"b{index}") for index in range(4)]
    # After its patience the second GPU swaps for the model that is more due; the first one has swapped nothing yet.
    queue.add(waiting("a", client=1, at=100, batch_key=key("a")))
    queue.add(waiting("b", client=1, at=100, batch_key=key("b")))
    assert next_one(queue, second, 131) == "a"
    assert (second.load_since, first.load_since) == (131, float("-inf"))


def test_a_model_that_another_gpu_serves_is_left_to_it_for_as_long_as_that_holds() -> None:
    queue, gpu = Queue(model_patience_s=10, size_patience_s=5), gpu_with("b")
    queue.add(waiting("a", client=1, at=0))
    assert queue.next(1000, gpu, elsewhere={key("a")}) is None
    queue.add(waiting("b", client=2, at=1000, batch_key=key("b")))
    queue.add(waiting("c", client=3, at=1000, batch_key=key("c")))
    # An image that is left to another GPU makes no slots close, however long it has waited.
    assert queue.next_for(key("b"), 1001, gpu, elsewhere={key("a")}) is not None
    assert queue.next_for(key("b"), 1001, gpu, elsewhere={key("b")}) is None
    assert next_one(queue, gpu, 1001) == "a"
    left = queue.next(1001, gpu, elsewhere={key("b")})
    assert left is not None
    assert left.image_id == "c"


def test_an_image_put_back_goes_first() -> None:
    queue = Queue()
    queue.add(waiting("a"))
    queue.put_back(waiting("again"))
    assert next_one(queue, Affinity()) == "again"


def test_a_removed_image_never_runs() -> None:
    queue = Queue()
    queue.add(waiting("a"))
    assert queue.waiting_for(key()) == 1
    assert queue.remove("a")
    assert not queue.remove("a")
    assert next_one(queue, Affinity()) is None
    assert len(queue) == queue.waiting_for(key()) == 0


arrivals = st.lists(
    st.tuples(st.integers(1, 4), st.sampled_from("abc"), st.sampled_from([512, 768]), st.integers(-1, 2)), max_size=40
)


@given(arrivals, st.integers(1, 2), st.integers(1, 3), st.data())
def test_every_image_runs_exactly_once_and_none_waits_for_ever(
    images: list[tuple[int, str, int, int]], room: int, gpus: int, data: st.DataObject
) -> None:
    """Check that each of several GPUs passes over a more due image for its patience at most."""
    queue = Queue(model_patience_s=3, size_patience_s=2)
    for index, (client, model, width, priority) in enumerate(images):
        queue.add(waiting(str(index), client, 0.0, key(model, width), priority=priority))
    removed = {str(index) for index in range(len(images)) if data.draw(st.booleans()) and queue.remove(str(index))}
    ran: list[str] = []
    box = [Affinity() for _ in range(gpus)]
    open_keys: list[BatchKey | None] = [None] * gpus
    held = [0] * gpus
    now = 0.0
    while len(queue):
        for number, gpu in enumerate(box):
            open_key = open_keys[number]
            image = None if open_key is None else queue.next_for(open_key, now, gpu)
            if image is None:
                image = queue.next(now, gpu)
                if image is None:
                    continue
                open_keys[number], held[number] = image.key, 0
            else:
                assert image.key == open_key
            held[number] += 1
            passes_over = queue.position(image.image_id) != 0
            queue.take(image, now, gpu)
            ran.append(image.image_id)
            # The least recently used model makes room.
            others = [model for model in gpu.loaded if model != image.key.model]
            gpu.loaded = dict.fromkeys([image.key.model, *others][:room], "revision")
            # Slots may stay as they are while their images are the most due, and past more due ones for a patience.
            assert not passes_over or held[number] <= 4
        now += 1
    assert sorted(ran) == sorted({str(index) for index in range(len(images))} - removed)


@given(arrivals, st.data())
def test_an_image_that_is_given_back_leaves_no_trace(
    images: list[tuple[int, str, int, int]], data: st.DataObject
) -> None:
    queue, untouched = Queue(), Queue()
    for index, (client, _, _, priority) in enumerate(images):
        queue.add(waiting(str(index), client, priority=priority))
        untouched.add(waiting(str(index), client, priority=priority))
    for now in range(len(images)):
        image = queue.next(now, Affinity())
        assert image is not None
        for _ in range(data.draw(st.integers(0, 2))):
            queue.take(image, now, Affinity())
            queue.give_back(image)
        assert [next_one(queue, Affinity(), now)] == [next_one(untouched, Affinity(), now)]
    assert len(queue) == 0


@given(arrivals, st.data())
def test_images_that_are_given_back_together_go_next_in_their_old_order(
    images: list[tuple[int, str, int, int]], data: st.DataObject
) -> None:
    queue = Queue()
    for index, (client, _, _, priority) in enumerate(images):
        queue.add(waiting(str(index), client, priority=priority))
    ran: list[str] = []
    while len(queue):
        taken = []
        for _ in range(data.draw(st.integers(1, 4))):
            image = queue.next(0.0, Affinity())
            if image is not None:
                queue.take(image, 0.0, Affinity())
                taken.append(image)
        for image in reversed(taken):
            queue.give_back(image)
        again = []
        for _ in taken:
            image = queue.next(0.0, Affinity())
            assert image is not None
            queue.take(image, 0.0, Affinity())
            again.append(image)
        for client, _, _, priority in images:
            flow = (client, priority)
            first, second = (
                [each.image_id for each in run if (each.client_id, each.priority) == flow] for run in (taken, again)
            )
            assert first == second
        ran += [image.image_id for image in again]
    assert sorted(ran) == sorted(str(index) for index in range(len(images)))


@given(arrivals)
def test_position_is_the_place_in_line(images: list[tuple[int, str, int, int]]) -> None:
    """Check that, with one batch key and one image at a time, the position is the number of images that then go before."""
    queue, gpu = Queue(), Affinity()
    for index, (client, _, _, priority) in enumerate(images):
        queue.add(waiting(str(index), client, priority=priority))
    told = {str(index): queue.position(str(index)) for index in range(len(images))}
    order = []
    while (name := next_one(queue, gpu)) is not None:
        order.append(name)
    assert {name: place for place, name in enumerate(order)} == told


@given(arrivals, st.integers(0, 20), st.integers(1, 5), st.integers(-1, 2))
def test_the_position_of_a_new_image_is_the_one_it_gets(
    images: list[tuple[int, str, int, int]], taken: int, client: int, priority: int
) -> None:
    queue, gpu = Queue(), Affinity()
    for index, (other, _, _, other_priority) in enumerate(images):
        queue.add(waiting(str(index), other, priority=other_priority))
    for _ in range(taken):
        next_one(queue, gpu)
    told = queue.position_behind(client, priority)
    queue.add(waiting("new", client, priority=priority))
    assert queue.position("new") == told


@pytest.mark.parametrize(
    ("moved", "expected"),
    [
        ([], ["a0", "b0", "a1", "b1"]),
        ([["b1"]], ["b1", "a0", "b0", "a1"]),
        ([["a1"], ["b1"]], ["b1", "a1", "a0", "b0"]),
        ([["b0", "b1"]], ["b0", "b1", "a0", "a1"]),
        ([["b1"], ["b1"]], ["b1", "a0", "b0", "a1"]),
        ([["unknown"]], ["a0", "b0", "a1", "b1"]),
    ],
)
def test_what_is_moved_to_the_front_goes_first(moved: list[list[str]], expected: list[str]) -> None:
    queue, gpu = Queue(), Affinity()
    for client, name in enumerate("ab", 1):
        for index in range(2):
            queue.add(waiting(f"{name}{index}", client=client))
    for names in moved:
        queue.move_to_front(names)
    assert [queue.position(name) for name in expected] == [0, 1, 2, 3]
    assert [next_one(queue, gpu) for _ in expected] == expected
    assert len(queue) == 0


def test_the_front_waits_for_no_loaded_model_and_no_open_slots() -> None:
    queue, gpu = Queue(), gpu_with("a")
    queue.add(waiting("same", client=1))
    queue.add(waiting("other", client=2, batch_key=key("b")))
    queue.move_to_front(["other"])
    assert next_in(queue, gpu, key()) is None
    assert next_one(queue, gpu) == "other"
    assert next_in(queue, gpu, key()) == "same"


def test_the_front_is_not_charged_to_its_client() -> None:
    queue, gpu = Queue(), Affinity()
    for index in range(3):
        queue.add(waiting(f"a{index}", client=1))
        queue.add(waiting(f"b{index}", client=2))
    queue.move_to_front(["a0", "a1"])
    assert [next_one(queue, gpu) for _ in range(6)] == ["a0", "a1", "b0", "a2", "b1", "b2"]


def test_an_image_of_the_front_that_runs_again_is_in_front_again() -> None:
    queue, gpu = Queue(), Affinity()
    queue.add(waiting("a", client=1))
    queue.add(waiting("b", client=2))
    queue.move_to_front(["b"])
    image = queue.next(0, gpu)
    assert image is not None
    queue.take(image, 0, gpu)
    queue.put_back(image)
    assert next_one(queue, gpu) == "b"


def test_a_paused_queue_takes_images_and_gives_none() -> None:
    queue, gpu = Queue(), gpu_with("a")
    queue.add(waiting("a"))
    queue.paused = True
    queue.add(waiting("b"))
    assert (queue.next(0, gpu), queue.next_for(key(), 0, gpu), len(queue)) == (None, None, 2)
    assert queue.position("b") == 1
    queue.paused = False
    assert [next_one(queue, gpu) for _ in range(2)] == ["a", "b"]
