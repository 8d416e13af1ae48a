import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import InvalidRequest
from app.wire.body import MAX_DEPTH, MAX_ELEMENTS, decode, decode_answer, encode

SECRET = "correct horse battery"


def nested(depth: int) -> bytes:
    return b'{"a":' * (depth - 1) + b"{}" + b"}" * (depth - 1)


def refused(raw: bytes) -> str:
    with pytest.raises(InvalidRequest) as caught:
        decode(raw)
    assert caught.value.status == 400
    return caught.value.message


def test_an_object_comes_back_as_it_was():
    assert decode(b'{"model":"m","messages":[{"role":"user","content":"\xe4\xbd\xa0"}]}') == {
        "model": "m",
        "messages": [{"role": "user", "content": "你"}],
    }


def test_j01_the_last_of_duplicate_keys_counts_and_only_it_travels():
    body = decode(b'{"model":"cheap","mod\\u0065l":"dear"}')
    assert body == {"model": "dear"}
    assert encode(body) == b'{"model":"dear"}'


def test_j02_case_variants_are_other_keys():
    assert decode(b'{"Model":"x","model":"y"}') == {"Model": "x", "model": "y"}


def test_j03_duplicates_count_last_at_every_depth():
    assert decode(b'{"stream_options":{"include_usage":true,"include_usage":false}}') == {
        "stream_options": {"include_usage": False}
    }


@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "01", "+1", "1" * 5000]
)
def test_j04_j05_numbers_outside_json_or_reason_are_refused(number):
    refused(b'{"a":' + number.encode() + b"}")


def test_j05_thirty_digits_survive_to_the_last():
    raw = b'{"seed":' + b"9" * 30 + b"}"
    assert encode(decode(raw)) == raw


def test_j06_depth_is_allowed_up_to_the_limit():
    assert decode(nested(MAX_DEPTH))
    assert decode(b'{"a":[' + b"{}," * 100 + b"{}]}")


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 100, 1_000, 100_000])
def test_j06_deeper_bodies_are_refused_and_never_overflow(depth):
    assert "deeper" in refused(nested(depth))
    assert "deeper" in refused(b'{"a":' + b"[" * depth + b"]" * depth + b"}")


@pytest.mark.parametrize(
    "raw",
    [
        b"\xef\xbb\xbf{}",
        '{"a":"b"}'.encode("utf-16"),
        '{"a":"b"}'.encode("utf-32"),
        b'{"a":"\xff"}',
        b'{"\xff":1}',
        b'{"a":"\xc0\x80"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\\ud800"}',
        b'{"a":"\\ud800x"}',
        b'{"a":"\\udc00"}',
    ],
)
def test_j07_only_strict_utf8_is_read(raw):
    refused(raw)


def test_j07_escaped_nul_is_text_like_any_other():
    assert encode(decode(b'{"a":"\\u0000"}')) == b'{"a":"\\u0000"}'


@pytest.mark.parametrize(
    "raw", [b"{}x", b"{}{}", b'{"a":1,}', b'{"a":1}//', b'{"a":"\x01"}', b"{'a':1}", b'{"a":tru}']
)
def test_j08_what_is_not_json_is_refused(raw):
    refused(raw)


def test_j09_emptiness_has_a_message_of_its_own():
    assert "empty" in refused(b"")


@pytest.mark.parametrize("raw", [b"null", b"[]", b'"x"', b"1", b"[" + b"1," * 1_000_000 + b"1]"])
def test_j09_anything_but_an_object_is_refused(raw):
    refused(raw)


@pytest.mark.parametrize("element", [b"1,", b"[],", b"{},"])
def test_j12_bodies_of_too_many_elements_are_refused_before_they_are_parsed(element):
    raw = b'{"a":[' + element * (MAX_ELEMENTS + 1) + b"0]}"
    assert str(MAX_ELEMENTS) in refused(raw + b"not even JSON")


def test_long_prose_is_not_mistaken_for_many_elements():
    prose = "Well, " * 100_000
    assert decode(json.dumps({"prompt": prose}).encode())["prompt"] == prose


@pytest.mark.parametrize(
    "raw", [b'{"%s" 1}', b'{"%s":tru}', b'{"a":"%s\xff"}', b'{"a":"%s', b'["%s"]', b'{"%s":1}x']
)
def test_j14_messages_never_repeat_the_content(raw):
    assert SECRET not in refused(raw % SECRET.encode())


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_an_invalid_request(raw):
    try:
        encode(decode(raw))
    except InvalidRequest:
        pass


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), JSON))
def test_what_was_decoded_means_the_same_when_it_goes_on(body):
    raw = json.dumps(body, ensure_ascii=False).encode(errors="surrogatepass")
    try:
        decoded = decode(raw)
    except InvalidRequest:
        with pytest.raises(UnicodeEncodeError):
            json.dumps(body, ensure_ascii=False).encode()
        return
    assert json.loads(encode(decoded)) == body


def test_answers_may_hold_numbers_that_json_does_not_have():
    assert decode_answer(b'{"a":NaN,"b":[Infinity,-Infinity],"c":1}') == {
        "a": None,
        "b": [None, None],
        "c": 1,
    }


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b'{"a":NaN',
        b'{"a":NaN,"b":"\\ud800"}',
        b'{"a":NaN,"b":"\xff"}',
        b"[" * 100_000,
        b"[NaN," + b"[" * 100_000,
    ],
)
def test_answers_that_are_not_json_raise_value_errors_only(raw):
    with pytest.raises(ValueError):
        decode_answer(raw)
