"""The scheduler's decisions, which need no clock, no disk and no GPU."""

from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.scheduler.queue import BatchKey, Queue, Waiting


def key(model: str = "a", width: int = 512) -> BatchKey:
    return BatchKey(model, width, 512, 4, 1.0)


def waiting(
    name: str,
    client: int = 1,
    at: float = 0.0,
    batch_key: BatchKey | None = None,
    alone: bool = False,
    priority: int = 0,
) -> Waiting:
    return Waiting(name, client, batch_key or key(), at, alone, priority)


def next_one(queue: Queue, now: float = 0.0, resident: Collection[str] = ()) -> str | None:
    """Take the job that would open slots."""
    job = queue.next(now, resident)
    if job is None:
        return None
    queue.take(job, now, resident)
    return job.job_id


def next_in(queue: Queue, batch_key: BatchKey, now: float = 0.0, resident: Collection[str] = ("a",)) -> str | None:
    """Take the job that would enter open slots."""
    job = queue.next_for(batch_key, now, resident)
    if job is None:
        return None
    queue.take(job, now, resident)
    return job.job_id


def test_oldest_first_within_a_client() -> None:
    queue = Queue()
    for name in "abc":
        queue.add(waiting(name))
    assert [next_one(queue) for _ in range(4)] == ["a", "b", "c", None]


def test_slots_take_one_key_only() -> None:
    queue = Queue()
    queue.add(waiting("a"))
    queue.add(waiting("wide", batch_key=key(width=768)))
    queue.add(waiting("b"))
    assert next_one(queue) == "a"
    assert next_in(queue, key()) == "b"
    assert next_in(queue, key()) is None
    assert next_one(queue) == "wide"


def test_clients_take_turns() -> None:
    queue = Queue()
    for index in range(6):
        queue.add(waiting(f"big-{index}", client=1))
    queue.add(waiting("small-0", client=2))
    queue.add(waiting("small-1", client=2))
    assert [next_one(queue) for _ in range(4)] == ["big-0", "small-0", "big-1", "small-1"]


def test_an_idle_client_saves_up_no_turns() -> None:
    queue = Queue()
    for index in range(20):
        queue.add(waiting(f"a{index}", client=1))
    for _ in range(10):
        next_one(queue)
    for index in range(5):
        queue.add(waiting(f"b{index}", client=2))
    order = [str(next_one(queue))[0] for _ in range(6)]
    assert order.count("a") == order.count("b") == 3


def test_a_client_that_sends_one_at_a_time_takes_no_more_than_its_turns() -> None:
    queue = Queue()
    for index in range(40):
        queue.add(waiting(f"b{index}", client=2))
    queue.add(waiting("a", client=1))
    order: list[str] = []
    for index in range(20):
        order.append(str(next_one(queue)))
        if order[-1].startswith("a"):
            queue.add(waiting(f"a{index}", client=1))
    assert 9 <= sum(name.startswith("a") for name in order) <= 11


@pytest.mark.parametrize(("priority", "share"), [(1, 2), (2, 4), (0, 1)])
def test_priority_is_a_share_and_starves_nobody(priority: int, share: int) -> None:
    queue = Queue()
    for index in range(100):
        queue.add(waiting(f"high-{index}", client=1, priority=priority))
        queue.add(waiting(f"low-{index}", client=2))
    order = [str(next_one(queue)) for _ in range(10 * (share + 1))]
    assert sum(name.startswith("low") for name in order) == 10


def test_the_model_in_memory_is_kept_only_for_a_while() -> None:
    queue = Queue(model_patience_s=10)
    queue.add(waiting("first", client=2, at=0))
    assert next_one(queue, 0) == "first"
    queue.add(waiting("other", client=1, at=1, batch_key=key("b")))
    for index in range(5):
        queue.add(waiting(f"same-{index}", client=2, at=1))
    assert next_in(queue, key(), 5) == "same-0"
    assert next_one(queue, 6, ["a"]) == "same-1"
    assert next_in(queue, key(), 11) is None
    assert next_one(queue, 11, ["a"]) == "other"


def test_a_long_backlog_does_not_swap_at_every_job() -> None:
    """All have waited longer than any patience; still each model has its turn, not each job."""
    queue = Queue(model_patience_s=10)
    for index in range(50):
        queue.add(waiting(f"a{index}", at=0))
        queue.add(waiting(f"b{index}", at=0, batch_key=key("b")))
    resident: list[str] = []
    loads = 0
    for now in range(1000, 1100):
        job = queue.next(now, resident)
        assert job is not None
        queue.take(job, now, resident)
        loads += resident != [job.key.model]
        resident = [job.key.model]
    assert loads <= 100 / 10 + 1


def test_models_in_memory_that_alternate_put_off_no_third() -> None:
    """Two clients keep the GPU busy with a model each; the third's must be loaded first."""
    queue = Queue(model_patience_s=30, size_patience_s=5)
    resident = ["a", "b"]
    queue.add(waiting("c", client=3, at=0, batch_key=key("c")))
    open_key = key("a")
    served: list[int] = []
    for now in range(120):
        for client, model in enumerate(resident):
            queue.add(waiting(f"{model}{now}", client, now, key(model)))
        job = queue.next_for(open_key, now, resident) or queue.next(now, resident)
        assert job is not None
        queue.take(job, now, resident)
        if job.job_id == "c":
            served.append(now)
        # Slots of one of them close every few seconds.
        open_key = key(resident[now // 4 % 2])
    assert len(served) == 1
    assert 30 <= served[0] <= 36


def test_other_slots_of_a_model_in_memory_open_sooner() -> None:
    queue = Queue(model_patience_s=30, size_patience_s=5)
    queue.add(waiting("first", client=2, at=0))
    next_one(queue, 0)
    queue.add(waiting("wide", client=1, at=0, batch_key=key(width=768)))
    queue.add(waiting("square", client=2, at=0))
    assert queue.next_for(key(), 4, ["a"]) is not None
    assert queue.next_for(key(), 5, ["a"]) is None


def test_a_job_put_back_goes_first() -> None:
    queue = Queue()
    queue.add(waiting("a"))
    queue.put_back(waiting("again"))
    assert next_one(queue) == "again"


def test_a_removed_job_never_runs() -> None:
    queue = Queue()
    queue.add(waiting("a"))
    assert queue.waiting_for(key()) == 1
    assert queue.remove("a")
    assert not queue.remove("a")
    assert next_one(queue) is None
    assert len(queue) == queue.waiting_for(key()) == 0


arrivals = st.lists(
    st.tuples(st.integers(1, 4), st.sampled_from("abc"), st.sampled_from([512, 768]), st.integers(-1, 2)), max_size=40
)


@given(arrivals, st.integers(1, 2), st.data())
def test_every_job_runs_exactly_once_and_none_waits_for_ever(
    jobs: list[tuple[int, str, int, int]], room: int, data: st.DataObject
) -> None:
    queue = Queue(model_patience_s=3, size_patience_s=2)
    for index, (client, model, width, priority) in enumerate(jobs):
        queue.add(waiting(str(index), client, 0.0, key(model, width), priority=priority))
    removed = {str(index) for index in range(len(jobs)) if data.draw(st.booleans()) and queue.remove(str(index))}
    ran: list[str] = []
    resident: list[str] = []
    now, open_key, held = 0.0, None, 0
    while len(queue):
        job = None if open_key is None else queue.next_for(open_key, now, resident)
        if job is None:
            job = queue.next(now, resident)
            assert job is not None
            open_key, held = job.key, 0
        else:
            assert job.key == open_key
        held += 1
        passes_over = queue.position(job.job_id) != 0
        queue.take(job, now, resident)
        ran.append(job.job_id)
        # The least recently used makes room.
        resident = [job.key.model, *(model for model in resident if model != job.key.model)][:room]
        now += 1
        # A turn may go on for as long as its jobs are the most due, and past more due ones for its patience.
        assert not passes_over or held <= 4
    assert sorted(ran) == sorted({str(index) for index in range(len(jobs))} - removed)


@given(arrivals)
def test_position_is_the_place_in_turn(jobs: list[tuple[int, str, int, int]]) -> None:
    """With one key and one job at a time, the position told is the number of jobs that then go before."""
    queue = Queue()
    for index, (client, _, _, priority) in enumerate(jobs):
        queue.add(waiting(str(index), client, priority=priority))
    told = {str(index): queue.position(str(index)) for index in range(len(jobs))}
    order = []
    while (name := next_one(queue)) is not None:
        order.append(name)
    assert {name: place for place, name in enumerate(order)} == told
