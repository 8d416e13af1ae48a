from __future__ import annotations

import pytest

from app.core.reply import Outbound
from app.upstream.transport.direct.request import encode_head


def test_head_holds_line_host_headers_and_length_in_this_order():
    outbound = Outbound("POST", "/v1/x", (("a", "b"), ("c", "d\xe9")), b"12345")
    expected = b"POST /v1/x HTTP/1.1\r\nhost: h:1\r\na: b\r\nc: d\xe9\r\ncontent-length: 5\r\n\r\n"
    assert encode_head(outbound, "h:1") == expected


@pytest.mark.parametrize(
    ("method", "body", "framed"), [("POST", b"", True), ("GET", b"", False), ("GET", b"x", True)]
)
def test_length_is_stated_where_a_body_is_expected(method, body, framed):
    assert (b"content-length" in encode_head(Outbound(method, "/", (), body), "h")) is framed


@pytest.mark.parametrize("value", ["a\r\nx: y", "a\n", "a\r", "\u20ac"])
def test_line_breaks_and_foreign_letters_are_refused(value):
    with pytest.raises(ValueError):
        encode_head(Outbound("POST", "/", (("a", value),)), "h")
    with pytest.raises(ValueError):
        encode_head(Outbound("POST", "/" + value, ()), "h")
