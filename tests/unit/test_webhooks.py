"""The pure parts of webhooks: waits, bounds, signatures, addresses, and a clock that is set back."""

import itertools
from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from server.clock import ClockWatch
from server.ledger.webhooks import DueDelivery, WebhookEvent
from server.webhooks import admission
from server.webhooks.address import BadAddress, check
from server.webhooks.admission import admit
from server.webhooks.retries import TRIES, wait_s
from server.webhooks.signing import new_secret, signed_headers

HOUR = 3600.0


@pytest.mark.parametrize(
    ("tries", "wait"),
    [(1, 5.0), (2, 16.2), (3, 52.2), (4, 168), (5, 544), (6, 1758), (7, 5678), (8, 18339), (9, 59235), (10, None)],
)
def test_the_waits(tries: int, wait: float | None) -> None:
    found = wait_s(tries, 0.5)
    assert found == (None if wait is None else pytest.approx(wait, rel=0.01))


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=TRIES, max_size=TRIES))
def test_ten_tries_take_about_a_day_whatever_chance_does(chances: list[float]) -> None:
    waits = [wait_s(tries, chance) for tries, chance in enumerate(chances, 1)]
    assert waits[-1] is None
    known = [wait for wait in waits if wait is not None]
    assert len(known) == TRIES - 1
    assert all(later > 2 * earlier for earlier, later in itertools.pairwise(known))
    assert 21 * HOUR < sum(known) < 27 * HOUR


@given(st.integers(1, TRIES - 1), st.floats(0, 1, exclude_max=True))
def test_chance_moves_a_wait_by_a_tenth_at_most(tries: int, chance: float) -> None:
    middle, moved = wait_s(tries, 0.5), wait_s(tries, chance)
    assert middle is not None
    assert moved is not None
    assert moved == pytest.approx(middle, rel=0.1001)


def delivery(number: int, client_id: int) -> DueDelivery:
    return DueDelivery(
        id=number,
        webhook_id=str(number),
        client_id=client_id,
        event=WebhookEvent.SUCCEEDED,
        job_id="j",
        occurred_at="2026-11-25T20:00:00.000000Z",
        tries=0,
        url="http://receiver/",
        secrets=(),
    )


def of(*clients: int, first: int = 0) -> list[DueDelivery]:
    return [delivery(number, client_id) for number, client_id in enumerate(clients, first)]


#: Clients of due deliveries, of those in flight (numbered from 1000), silent ones, and of those admitted, in order.
CASES: dict[str, tuple[list[int], list[int], set[int], list[int]]] = {
    "nothing is due": ([], [1], set(), []),
    "one client gets its bound": ([1] * 9, [], set(), [1] * 4),
    "what is in flight counts": ([1] * 9, [1] * 3, set(), [1]),
    "a client at its bound gets no more": ([1] * 9, [1] * 4, set(), []),
    "clients take turns": ([1, 1, 1, 2, 2, 3], [], set(), [1, 2, 3, 1, 2, 1]),
    "a silent receiver gets one": ([1, 1, 2, 2], [], {1}, [1, 2, 2]),
    "a silent receiver has one": ([1, 1, 2, 2], [1], {1}, [2, 2]),
    "the overall bound holds": ([1] * 4, list(range(100, 163)), set(), [1]),
    "the first of a client is beyond it": ([1] * 4 + [2], list(range(100, 200)), set(), [1, 2]),
    "a second one is within it": ([1] * 4, [*range(100, 200), 1], set(), []),
}


@pytest.mark.parametrize(("due", "in_flight", "silent", "admitted"), CASES.values(), ids=CASES)
def test_what_is_sent_now(due: list[int], in_flight: list[int], silent: set[int], admitted: list[int]) -> None:
    found = admit(of(*due), of(*in_flight, first=1000), silent)
    assert [one.client_id for one in found] == admitted


@given(
    st.lists(st.integers(1, 40), max_size=200),
    st.lists(st.integers(1, 40), max_size=100),
    st.sets(st.integers(1, 40)),
)
def test_the_bounds_hold_and_nobody_waits_for_others(due: list[int], in_flight: list[int], silent: set[int]) -> None:
    waiting, sending = of(*due), of(*in_flight, first=1000)
    admitted = admit([*sending, *waiting], sending, silent)
    assert not {one.id for one in admitted} & {one.id for one in sending}
    assert len({one.id for one in admitted}) == len(admitted)
    before, after = Counter(in_flight), Counter(in_flight) + Counter(one.client_id for one in admitted)
    for client_id in set(due):
        assert after[client_id] >= 1
        bound = 1 if client_id in silent else admission.PER_CLIENT
        assert after[client_id] <= max(bound, before[client_id])
    beyond = [client_id for client_id in after if not before[client_id]]
    assert len(admitted) <= max(0, admission.OVERALL - len(sending)) + len(beyond)


def test_a_signature_is_that_of_the_specification_s_own_library() -> None:
    secret, body = new_secret(), '{"mood": "wärmer"}'.encode()
    moment = datetime(2026, 11, 25, 20, 35, 12, tzinfo=UTC)
    headers = signed_headers([secret], "01KAZ3N8T9", int(moment.timestamp()), body)
    assert headers == {
        "webhook-id": "01KAZ3N8T9",
        "webhook-timestamp": "1795638912",
        "webhook-signature": Webhook(secret).sign("01KAZ3N8T9", moment, body.decode()),
    }


def test_the_library_verifies_either_secret_and_nothing_else() -> None:
    new, old, body = new_secret(), new_secret(), b'{"a": 1}'
    headers = signed_headers([new, old], "id", int(datetime.now(UTC).timestamp()), body)
    assert Webhook(new).verify(body, headers) == Webhook(old).verify(body, headers) == {"a": 1}
    for secret, sent in ((new_secret(), body), (new, b'{"a": 2}')):
        with pytest.raises(Exception, match="No matching signature"):
            Webhook(secret).verify(sent, headers)


def test_secrets_differ() -> None:
    assert len({new_secret() for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.7:9000/hook",
        "http://localhost",
        "https://pipeline.studio.lan/backlot?to=a%20b",
        "http://[fd00::7]:80/",
        "HTTP://Render_01/",
        "https://bücher.example/ü",
        "https://user:word@host/",
        "http://host.:1/",
    ],
)
def test_addresses_that_are_taken(url: str) -> None:
    check(url)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("", "does not begin with http"),
        ("pipeline.lan/hook", "does not begin with http"),
        ("ftp://host/", "does not begin with http"),
        ("file:///etc/passwd", "does not begin with http"),
        ("http://", "for a host, which can be none"),
        ("http:///hook", "for a host, which can be none"),
        ("http://:80/", "for a host, which can be none"),
        ("http://a..b/", "for a host, which can be none"),
        ("http://-a/", "for a host, which can be none"),
        (f"http://{'a' * 64}/", "for a host, which can be none"),
        ("http://a b/", "has a space"),
        ("http://host/\n", "has a space or a control character"),
        ("http://999.1.1.1/", "is not a URL"),
        ("http://xn--/", "is not a URL"),
        ("http://[::1", "is not a URL"),
        ("http://host:port/", "is not a URL"),
        ("http://host:0/", "has the port 0"),
        ("http://host:65536/", "has the port 65536"),
        ("http://host/#here", "has a fragment, #here"),
        ("http://host/" + "a" * 2000, "has 2012 characters"),
    ],
)
def test_addresses_that_are_refused(url: str, told: str) -> None:
    with pytest.raises(BadAddress, match=told):
        check(url)


def test_a_clock_that_is_set_back_is_noticed() -> None:
    #: The wall clock and the steady clock at each look.
    looks = [(1000.0, 0.0), (1001.0, 1.0), (402.0, 2.0), (403.0, 3.0), (9000.0, 4.0), (9001.0, 5.0)]
    walls, steadies = iter([wall for wall, _ in looks]), iter([steady for _, steady in looks])
    watch = ClockWatch(lambda: next(walls), lambda: next(steadies))
    found = []
    for _ in looks[1:]:
        found.append(watch.look())
        watch.forget(found[-1])
    assert found == [0.0, 600.0, 0.0, 0.0, 0.0]


def test_what_is_not_forgotten_is_seen_again_and_looks_that_are_late_do_not_add_up() -> None:
    #: The steady clock is read a quarter of a second after the wall clock at every second look.
    walls = iter([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 4.0, 5.0])
    steadies = iter([0.0, 1.25, 2.0, 3.25, 4.0, 5.0, 6.0, 7.0])
    watch = ClockWatch(lambda: next(walls), lambda: next(steadies))
    assert [watch.look() for _ in range(7)] == [0.25, 0.0, 0.25, 0.0, 0.0, 2.0, 2.0]
