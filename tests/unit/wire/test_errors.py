import json

import pytest

from app.core.errors import InvalidRequest
from app.core.failures import EndpointRejected, StreamBroken
from app.wire.errors import error_event, error_of


def test_the_nested_shape_is_the_error_itself():
    error = {"message": "m", "type": "BadRequestError", "param": None, "code": 400}
    assert error_of({"error": error}) == error
    assert error_of({"type": "error", "error": error}) == error


def test_a_bare_text_becomes_a_message():
    assert error_of({"error": "scaling"}) == {"message": "scaling"}


def test_flat_shapes_are_understood():
    assert error_of({"object": "error", "message": "m", "code": 500})["code"] == 500
    assert error_of({"type": "error", "message": "m", "code": "c", "param": None})["message"] == "m"


@pytest.mark.parametrize("response", [None, {}, {"error": None}])
def test_a_failed_response_is_an_error_whatever_it_says(response):
    assert error_of({"type": "response.failed", "response": response})["message"]


def test_a_failed_response_says_why():
    response = {"error": {"code": "server_error", "message": "m"}}
    assert error_of({"type": "response.failed", "response": response}) == response["error"]


@pytest.mark.parametrize("event", [{}, {"choices": []}, {"error": None}, {"type": "message_start"}])
def test_other_events_are_no_errors(event):
    assert error_of(event) is None


def test_our_error_is_one_event_with_the_contracts_body():
    event = error_event(StreamBroken())
    assert event.startswith(b"data: {")
    assert event.endswith(b"}\n\n")
    assert json.loads(event[6:])["error"]["code"] == "upstream_error"


def test_p11_no_text_of_an_endpoint_can_break_out_of_its_event():
    raw = b'{\n"error": {"message": "x"}}\r\n\r\ndata: [DONE]\n\n'
    event = error_event(EndpointRejected(400, raw))
    assert event.count(b"\n") == 2
    assert b"\r" not in event
    assert b"\n" not in error_event(InvalidRequest("a\n\ndata: [DONE]\n\n"))[:-2]
