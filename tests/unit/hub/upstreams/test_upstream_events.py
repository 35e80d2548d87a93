"""Server-sent events, however the bytes are cut."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_suite.hub.upstreams.event_stream import Event, EventStream, EventTooLarge

STREAM = (
    b"\xef\xbb\xbf: welcome\r\n\r\n"
    b"id: 1\nretry: 250\ndata:\n\n"
    b'event: message\r\ndata: {"a":\r\ndata:  1}\r\n\r\n'
    b"data: tight\r\rid\ndata:no space\n\n"
    b"unknown: x\nretry: soon\nid: nul\0\n\n"
    b"data: last, without its end"
)
EVENTS = [
    Event(b"", "1", 250),
    Event(b'{"a":\n 1}', None, None),
    Event(b"tight", None, None),
    Event(b"no space", "", None),
]


def read(chunks: list[bytes], max_bytes: int = 10_000) -> list[Event]:
    events: list[Event] = []
    stream = EventStream(events.append, max_bytes)
    for chunk in chunks:
        stream.feed(chunk)
    return events


def test_fields_comments_and_every_kind_of_line_end_are_read() -> None:
    assert read([STREAM]) == EVENTS


@given(st.lists(st.integers(min_value=3, max_value=len(STREAM)), max_size=12))
def test_events_do_not_depend_on_how_the_stream_is_cut(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]

    assert read([STREAM[a:b] for a, b in itertools.pairwise(edges)]) == EVENTS


@pytest.mark.parametrize("chunk", [b"x" * 64, b"data: " + b"x" * 58 + b"\n", b"data:\n" * 40])
def test_an_event_over_the_bound_is_refused_wherever_it_grows(chunk: bytes) -> None:
    with pytest.raises(EventTooLarge):
        read([chunk] * 10, max_bytes=300)


def test_many_small_events_are_no_large_one() -> None:
    assert len(read([b"data: x\n\n" * 1000] * 10, max_bytes=9_500)) == 10_000
