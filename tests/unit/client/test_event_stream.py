"""Server-sent events, however the network cuts them."""

from itertools import pairwise

import pytest
from backlot_client.event_stream import EventStreamDecoder, Message
from hypothesis import given
from hypothesis import strategies as st

STREAM = (
    b': still here\r\n\r\nid: 1\r\nevent: queued\r\ndata: {"a": 1}\r\n\r\n'
    b"id: 2\nevent: stage\ndata: first\ndata: second \xc3\xa9\n\n"
    b"data:unspaced\r\rid: 4\ndata: cut off\n"
)
MESSAGES = [
    Message("queued", '{"a": 1}', "1"),
    Message("stage", "first\nsecond é", "2"),
    Message("message", "unspaced", "2"),
]


@given(st.lists(st.integers(0, len(STREAM))))
def test_pieces_of_any_size_give_the_same_messages(cuts: list[int]) -> None:
    decoder = EventStreamDecoder()
    places = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[start:end] for start, end in pairwise(places)]
    assert [message for piece in pieces for message in decoder.feed(piece)] == MESSAGES


@pytest.mark.parametrize("length", range(len(STREAM) + 1))
def test_a_cut_stream_gives_a_beginning_of_the_messages(length: int) -> None:
    found = EventStreamDecoder().feed(STREAM[:length])
    assert found == MESSAGES[: len(found)]
