from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.failures import StreamBroken
from app.wire.sse import Events, data_of, with_data


def cut(*chunks: bytes, max_event: int = 1000) -> list[bytes]:
    events = Events(max_event)
    return [event.strip(b"\n") for chunk in chunks for event in events.feed(chunk) if event.strip(b"\n")]


PLAIN = b'data: {"a":"\xe4\xbd\xa0"}\n\nevent: x\ndata: 1\ndata: 2\n\n: ping\n\ndata: [DONE]\n\n'
EVENTS = [b'data: {"a":"\xe4\xbd\xa0"}', b"event: x\ndata: 1\ndata: 2", b": ping", b"data: [DONE]"]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@given(cuts=st.lists(st.integers(0, len(PLAIN) + 20), max_size=8))
def test_u39_events_are_the_same_however_lines_end_and_bytes_are_split(end, cuts):
    stream = PLAIN.replace(b"\n", end)
    edges = [0, *sorted(cuts), len(stream)]
    assert cut(*(stream[a:b] for a, b in pairwise(edges))) == EVENTS


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_u39_one_byte_at_a_time_is_as_good(end):
    stream = b"\xef\xbb\xbf" + PLAIN.replace(b"\n", end)
    assert cut(*(stream[i : i + 1] for i in range(len(stream)))) == EVENTS


def test_mixed_line_ends_are_understood():
    assert cut(b"data: 1\r\n\ndata: 2\n\rdata: 3\r\r", b"\ndata: 4\n\n") == [
        b"data: 1",
        b"data: 2",
        b"data: 3",
        b"data: 4",
    ]


@pytest.mark.parametrize(
    "chunks", [(b"\xef\xbb\xbfdata: 1\n\n",), (b"\xef", b"\xbb", b"\xbf", b"data: 1\n\n")]
)
def test_a_byte_order_mark_is_no_part_of_the_first_event(chunks):
    assert cut(*chunks) == [b"data: 1"]


def test_only_one_byte_order_mark_is_taken_off():
    assert cut(b"\xef\xbb\xbf", b"\xef\xbb\xbfdata: 1\n\n") == [b"\xef\xbb\xbfdata: 1"]


def test_half_a_byte_order_mark_is_content():
    assert cut(b"\xef\xbb", b"data: 1\n\n") == [b"\xef\xbbdata: 1"]


def test_many_events_in_one_chunk_come_out_in_order():
    assert cut(b"data: 0\n\n", b"data: 1\n\ndata: 2\n\n", b"data: 3\n\n") == [
        b"data: %d" % i for i in range(4)
    ]


def test_spare_blank_lines_are_no_events():
    assert cut(b"\n\n\ndata: 1\n\n\n\n", b"\n", b"\ndata: 2\n\n", b"\n\n", b"\ndata: 3\n\n") == [
        b"data: 1",
        b"data: 2",
        b"data: 3",
    ]


def test_an_unfinished_event_waits():
    events = Events()
    assert events.feed(b"data: 1\n") == []
    assert events.feed(b"") == []
    assert events.feed(b"\n") == [b"data: 1"]


@pytest.mark.parametrize(
    "chunks",
    [
        (b"data: " + b"x" * 2000 + b"\n\n",),
        (b": first\n\n", b"data: " + b"x" * 2000 + b"\n\n"),
        (b": first\n\n", b"data: 1\n\ndata: " + b"x" * 2000 + b"\n\n"),
        (b"data: ", *[b"x" * 100] * 20),
        (b"data: 1\n\ndata: " + b"x" * 2000,),
    ],
)
def test_u40_an_event_over_the_limit_breaks_the_stream(chunks):
    with pytest.raises(StreamBroken) as caught:
        cut(*chunks)
    assert caught.value.reason == "event_too_large"


def test_u40_many_events_in_a_chunk_over_the_limit_are_fine():
    assert len(cut(b": first\n\n", b"data: 1234567\n\n" * 100)) == 101


@given(st.lists(st.binary(max_size=30)))
def test_no_bytes_raise_anything_but_stream_broken(chunks):
    try:
        for event in cut(*chunks, max_event=20):
            data_of(event)
    except StreamBroken:
        pass


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (b"data: x", b"x"),
        (b"data:x", b"x"),
        (b"data:  x", b" x"),
        (b"data: a\ndata: b", b"a\nb"),
        (b"event: e\nid: 1\ndata: a\nretry: 1", b"a"),
        (b"data:", b""),
        (b"data", b""),
        (b": comment", None),
        (b"event: e", None),
        (b"database: x", None),
        (b"", None),
    ],
)
def test_data_is_what_the_data_lines_say(event, data):
    assert data_of(event) == data


def test_other_lines_stay_when_data_is_replaced():
    assert with_data(b"event: e\ndata: a\ndata: b\nid: 7", b"c") == b"event: e\nid: 7\ndata: c"
    assert with_data(b"data", b"c") == b"data: c"
