"""Whatever an endpoint says in an error, a complete nested body comes out."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.resilience.refusal import LONGEST_BODY, SILENT, read_error, read_refusal

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.sampled_from(["error", "detail", "message", "code", "loc"]), inner)
    ),
)


def nested(raw: bytes) -> dict:
    return json.loads(raw)["error"]


def test_the_nested_shape_is_kept_byte_for_byte():
    body = b'{ "error" : {"message":"no","type":"BadRequestError","param":"n","code":400,"more":1} }'
    refusal = read_refusal(body)
    assert refusal.raw is body
    assert (refusal.message, refusal.type, refusal.param, refusal.code) == ("no", "BadRequestError", "n", 400)


def test_the_flat_shape_is_nested_and_keeps_its_code():
    flat = {"object": "error", "message": "no", "type": "BadRequestError", "param": None, "code": 40003}
    assert nested(read_refusal(json.dumps(flat).encode()).raw) == {
        "message": "no", "type": "BadRequestError", "param": None, "code": 40003,
    }  # fmt: skip


def test_a_detail_becomes_the_message():
    assert nested(read_refusal(b'{"detail":"There was an error parsing the body"}').raw) == {
        "message": "There was an error parsing the body",
        "type": "invalid_request_error",
        "param": None,
        "code": "invalid_request",
    }


def test_a_list_of_findings_becomes_one_message_without_the_callers_input():
    detail = [
        {"loc": ["body", "messages", 0], "msg": "Field required", "input": "my secret prompt"},
        {"msg": "too long"},
        {"loc": [], "type": "odd"},
        "noise",
    ]
    raw = read_refusal(json.dumps({"detail": detail}).encode()).raw
    assert nested(raw)["message"] == "body.messages.0: Field required; too long; invalid"
    assert b"secret" not in raw


@pytest.mark.parametrize("detail", [[], {}, None, 7, ["noise"]])
def test_a_detail_that_says_nothing_still_makes_a_message(detail):
    assert nested(read_refusal(json.dumps({"detail": detail}).encode()).raw)["message"]


def test_a_bare_word_becomes_the_message():
    assert nested(read_refusal(b'{"error":"Unauthorized"}').raw)["message"] == "Unauthorized"


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"\xff\xfe", b"[1]", b"null", b'{"error":7}', b"{}", b"[" * 100_000, b'{"a":"\\ud800"}'],
)
def test_garbage_says_nothing(body):
    refusal = read_refusal(body)
    assert refusal is SILENT
    assert nested(refusal.raw)["message"] == "The endpoint rejected the request."


def test_a_huge_body_says_nothing():
    body = b'{"error":{"message":"' + b"x" * LONGEST_BODY + b'"}}'
    assert not read_refusal(body).told


def test_words_of_the_wrong_kind_are_not_said():
    refusal = read_refusal(b'{"message":"no","type":[],"param":{"a":1},"code":4.5}')
    assert (refusal.type, refusal.param, refusal.code) == (None, None, None)


def test_an_error_of_an_event_may_come_with_or_without_its_cover():
    error = {"message": "no", "type": "BadRequestError", "param": None, "code": 400}
    bare, covered = read_error(error), read_error({"type": "error", "error": error})
    assert nested(bare.raw) == nested(covered.raw) == error
    assert json.loads(covered.raw)["type"] == "error"
    assert bare.code == covered.code == 400


def test_an_error_of_an_event_that_is_no_object_says_nothing():
    assert read_error("broken") is read_error(None) is SILENT


def test_an_error_of_an_event_nested_too_deep_says_nothing():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    assert read_error({"message": "no", "param": deep}) is SILENT
    while deep:
        deep = deep.pop()


@given(JSON)
def test_any_json_makes_a_complete_body(value):
    refusal = read_refusal(json.dumps(value).encode())
    assert isinstance(nested(refusal.raw), dict)
    assert isinstance(nested(read_error(value).raw), dict)


@given(st.binary())
def test_any_bytes_make_a_complete_body(body):
    assert isinstance(nested(read_refusal(body).raw), dict)
