from __future__ import annotations

import sys

import pytest

from app.core.failures import BadUpstream
from app.upstream.transport.head import headers_of, judge
from app.upstream.transport.options import TransportOptions

OPTIONS = TransportOptions(max_body=100)


@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        ([], {}),
        ([b"X-A", b"One"], {"x-a": "One"}),
        ([b"a", b"", b"b", b""], {"a": "", "b": ""}),
        ([b"A", b"1", b"b", b"\xe9, \x85", b"a", b"", b"a", b"2"], {"a": "1, , 2", "b": "\xe9, \x85"}),
    ],
    ids=["none", "one", "empty", "repeated"],
)
def test_headers_are_known_by_lower_case_names_and_repeated_ones_are_joined(fields, headers):
    assert headers_of(fields) == headers


@pytest.mark.parametrize(
    ("status", "headers", "framed"),
    [
        (200, {"content-length": "100"}, True),
        (599, {"content-length": "0"}, True),
        (200, {"transfer-encoding": "Chunked"}, True),
        (204, {}, True),
        (304, {}, True),
        (200, {}, False),
        (200, {"content-encoding": "Identity"}, False),
    ],
)
def test_believable_heads_say_whether_the_body_is_framed(status, headers, framed):
    assert judge(status, headers, OPTIONS) == (framed, 100)


@pytest.mark.parametrize("content_type", ["text/event-stream", "Text/Event-Stream; charset=utf-8"])
def test_event_streams_have_room_without_end(content_type):
    headers = {"content-type": content_type, "content-length": "101"}
    assert judge(200, headers, OPTIONS) == (True, sys.maxsize)


@pytest.mark.parametrize("status", [0, 100, 101, 199, 600, 999])
def test_impossible_status_is_refused(status):
    with pytest.raises(BadUpstream):
        judge(status, {}, OPTIONS)


@pytest.mark.parametrize(
    "headers",
    [
        {"content-encoding": "gzip"},
        {"content-encoding": "identity, gzip"},
        {"content-length": "2", "transfer-encoding": "chunked"},
        {"transfer-encoding": "gzip"},
        {"transfer-encoding": "gzip, chunked"},
        {"content-length": "101"},
        {"content-length": "9" * 19},
        {"content-length": "9" * 5_000},
        {"content-length": "5, 5"},
        {"content-length": "-1"},
        {"content-length": ""},
        {"content-length": "\u0661"},
    ],
)
def test_doubtful_head_is_refused(headers):
    with pytest.raises(BadUpstream):
        judge(200, headers, OPTIONS)
