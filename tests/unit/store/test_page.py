from __future__ import annotations

import base64
import json

import pytest

from app.core.errors import InvalidRequest
from app.store.page import decode_cursor, encode_cursor


def forged(text):
    return base64.urlsafe_b64encode(text.encode()).decode()


def test_a_cursor_says_what_it_was_given():
    assert decode_cursor(encode_cursor(1.5, "tnt_a"), float, str) == (1.5, "tnt_a")
    assert decode_cursor(encode_cursor(2**63 - 1), int) == (2**63 - 1,)


@pytest.mark.parametrize(
    ("cursor", "types"),
    [
        ("", (int,)),
        ("%%%", (int,)),
        ("é", (int,)),
        (forged("{}"), (int,)),
        (forged("[1]"), (float,)),
        (forged("[true]"), (int,)),
        (forged("[1, 2]"), (int,)),
        (forged(f"[{2**63}]"), (int,)),
        (forged("[-1" + "0" * 400 + "]"), (int,)),
        (forged("[NaN]"), (float,)),
        (forged("[Infinity]"), (float,)),
        (forged("[1e999]"), (float,)),
        (forged(json.dumps(["a\0b"])), (str,)),
        (forged(json.dumps(["\ud800"])), (str,)),
        (forged("[" * 100_000), (int,)),
        (forged("[" + "9" * 5000 + "]"), (int,)),
    ],
)
def test_no_other_cursor_is_taken(cursor, types):
    with pytest.raises(InvalidRequest) as refused:
        decode_cursor(cursor, *types)
    assert refused.value.param == "cursor"
