import pytest

from app.core.outcome import Usage
from app.wire.edit import Fate
from app.wire.meter import Meter
from app.wire.named import MessageEvents, ResponseEvents

DELTA = b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"text":"x"},"index":0}'
START = {
    "type": "message_start",
    "message": {"model": "tiny", "usage": {"input_tokens": 11, "output_tokens": 0}},
}
TEXT = b'event: response.output_text.delta\ndata: {"delta":"x","type":"response.output_text.delta"}'


def start() -> dict:
    return START | {"message": dict(START["message"])}


def messages(model=None, prompt=0) -> MessageEvents:
    return MessageEvents(Meter(prompt=prompt), model=model)


def stop(reason, usage=None) -> dict:
    return {"type": "message_delta", "delta": {"stop_reason": reason}} | ({"usage": usage} if usage else {})


def test_message_start_is_renamed_and_states_the_prompt():
    codec, content = messages("public", prompt=99), start()
    assert codec.edit(b"", content) is Fate.EDITED
    assert content["message"]["model"] == "public"
    assert codec._meter.usage == Usage(11, 0)
    assert codec._meter.usage_source == "estimated"


def test_message_start_without_a_rename_is_kept():
    assert messages().edit(b"", start()) is Fate.KEEP


def test_a_forged_prompt_is_not_believed():
    codec, content = messages(prompt=99), start()
    content["message"]["usage"] = {"input_tokens": -5}
    codec.edit(b"", content)
    assert codec._meter.usage == Usage(99)
    assert codec._meter.suspect


def test_deltas_are_counted_until_the_usage_comes():
    codec = messages()
    codec.edit(b"", start())
    assert codec.splice(DELTA) is None
    assert codec.edit(DELTA, {"type": "content_block_delta", "delta": {"text": "x"}}) is Fate.KEEP
    assert codec.splice(DELTA) is DELTA
    assert codec.splice(b"event: content_block_stop\ndata: {}") is None
    assert (codec._meter.usage, codec._meter.usage_source) == (Usage(11, 2), "counted")


def test_message_delta_states_usage_and_end():
    codec = messages()
    usage = {"input_tokens": 11, "output_tokens": 4, "cache_read_input_tokens": 5}
    assert codec.edit(b"", stop("end_turn", usage)) is Fate.KEEP
    assert codec._meter.usage == Usage(16, 4, 5)
    assert (codec.finish, codec.satisfied) == ("end_turn", True)
    assert codec.edit(b"", {"type": "message_stop"}) is Fate.END


def test_a_delta_that_states_only_the_completion_keeps_the_prompt():
    codec = messages()
    codec.edit(b"", start())
    codec.edit(b"", stop("end_turn", {"output_tokens": 4}))
    assert codec._meter.usage == Usage(11, 4)


@pytest.mark.parametrize(
    "event", [stop(None), stop("abort"), {"type": "message_delta"}, {"type": "ping"}, {}]
)
def test_without_a_good_stop_reason_a_message_is_not_finished(event):
    codec = messages()
    codec.edit(b"", start())
    codec.edit(b"", event)
    assert not codec.satisfied


@pytest.mark.parametrize(
    "event",
    [
        {"type": "message_start"},
        {"type": "message_start", "message": {"usage": "x"}},
        {"type": "message_start", "message": {}},
        {"type": ["x"]},
        {"type": "message_delta", "delta": [], "usage": "x"},
    ],
)
def test_shapes_nobody_promised_raise_nothing(event):
    messages("m").edit(b"", event)


def responses(model=None) -> ResponseEvents:
    return ResponseEvents(Meter(prompt=9), model=model)


def test_the_responses_model_is_renamed_wherever_it_stands():
    codec, content = (
        responses("public"),
        {"type": "response.created", "response": {"model": "tiny", "usage": None}},
    )
    assert codec.edit(b"", content) is Fate.EDITED
    assert content["response"]["model"] == "public"
    assert responses().edit(b"", content) is Fate.KEEP


def test_response_deltas_are_counted():
    codec = responses()
    assert codec.splice(TEXT) is None
    assert codec.edit(TEXT, {"type": "response.output_text.delta", "delta": "x"}) is Fate.KEEP
    assert codec.splice(TEXT) is TEXT
    assert codec.splice(b"event: response.output_text.done\ndata: {}") is None
    assert codec._meter.usage == Usage(9, 2)


@pytest.mark.parametrize(
    ("kind", "status", "satisfied"),
    [
        ("response.completed", "completed", True),
        ("response.completed", "incomplete", True),
        ("response.incomplete", "incomplete", True),
        ("response.completed", "cancelled", False),
    ],
)
def test_the_last_event_states_usage_and_end(kind, status, satisfied):
    codec = responses()
    response = {"status": status, "usage": {"input_tokens": 11, "output_tokens": 4}}
    assert codec.edit(b"", {"type": kind, "response": response}) is Fate.END
    assert codec._meter.usage == Usage(11, 4)
    assert (codec.finish, codec.satisfied) == (status, satisfied)


@pytest.mark.parametrize("event", [{}, {"type": 1, "response": []}, {"type": "response.completed"}])
def test_other_responses_events_are_kept(event):
    codec = responses("m")
    assert codec.edit(b"", event) is Fate.KEEP
    assert not codec.satisfied
