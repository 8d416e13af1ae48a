from __future__ import annotations

import pytest

from app.core.errors import HeadersTooLarge, InvalidRequest, RequestTooLarge
from app.server.head import head_without, judge_head, named_fields, split_target
from app.server.options import ServerOptions

LIMITS = ServerOptions(max_body=100, max_header=1000, max_headers=3)


@pytest.mark.parametrize(
    ("version", "headers", "error"),
    [
        ("1.1", [(b"a", b"b")] * 4, HeadersTooLarge),
        ("1.1", [(b"a", b"b" * 1000)], HeadersTooLarge),
        ("1.1", [(b"content-length", b"101")], RequestTooLarge),
        ("1.1", [(b"transfer-encoding", b"gzip, chunked")], InvalidRequest),
        ("1.1", [(b"transfer-encoding", b"gzip"), (b"transfer-encoding", b"chunked")], InvalidRequest),
        ("1.0", [(b"transfer-encoding", b"chunked")], InvalidRequest),
        ("1.1", [(b"host", b"a"), (b"host", b"a")], InvalidRequest),
        ("0.9", [], InvalidRequest),
    ],
)
def test_heads_beyond_the_limits_are_refused(version, headers, error):
    with pytest.raises(error):
        judge_head(version, b"/", headers, 2000, LIMITS)


def test_fields_become_pairs_in_their_order_with_names_in_lower_case():
    fields = [b"Host", b"A", b"X-B", b"1", b"x-b", b"2"]
    assert named_fields(fields) == [(b"host", b"A"), (b"x-b", b"1"), (b"x-b", b"2")]
    assert named_fields([]) == []


@pytest.mark.parametrize("received", [500, 2000])
def test_heads_within_the_limits_pass(received):
    headers = [(b"host", b"a"), (b"content-length", b"100"), (b"transfer-encoding", b"Chunked")]
    judge_head("1.1", b"/", headers, received, LIMITS)


def test_target_without_a_path_means_the_root():
    assert split_target(b"http://host") == ("/", b"/", b"")


def test_head_without_one_header():
    headers = [(b"host", b"a"), (b"upgrade", b"h2c")]
    assert head_without(b"upgrade", b"POST", b"/x", "1.1", headers) == b"POST /x HTTP/1.1\r\nhost: a\r\n\r\n"
