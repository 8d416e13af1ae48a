import json

import pytest

from app.wire.outbound import upstream_body
from app.wire.surfaces import SURFACES
from tests.unit.wire.streams import CHAT, COMPLETIONS, MESSAGES, RESPONSES


def sent(body: dict, surface=CHAT, *, usage: str = "continuous", **more) -> dict:
    return json.loads(upstream_body(body, surface=surface, model="served", usage=usage, **more))


def test_the_endpoint_gets_the_name_it_serves():
    assert sent({"model": "alias", "messages": []}) == {"model": "served", "messages": []}
    assert sent({"messages": []})["model"] == "served"


def test_j11_unknown_fields_travel_untouched():
    body = {"foo": {"bar": [1, None, 1.5, "ü"]}, "model": "m", "seed": 10**30}
    assert sent(body) == body | {"model": "served"}


@pytest.mark.parametrize("surface", [CHAT, COMPLETIONS])
def test_v14_usage_is_asked_for_whatever_the_caller_said(surface):
    for options in (None, {}, {"include_usage": False}):
        outgoing = sent({"stream": True, "stream_options": options}, surface)
        assert outgoing["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}


def test_no_more_usage_is_asked_for_than_said():
    asked = {"include_usage": True, "continuous_usage_stats": True, "other": 1}
    for options in (None, asked):
        body = {"stream": True, "stream_options": options}
        more = {"other": 1} if options else {}
        assert sent(body, usage="final")["stream_options"] == {"include_usage": True} | more
        assert "stream_options" not in sent(body, usage="none")


@pytest.mark.parametrize("stream", [None, False])
def test_an_answer_to_be_assembled_is_asked_for_as_a_stream(stream):
    body = {"stream": stream, "messages": []}
    outgoing = sent(body, usage="final", assembled=True)
    assert (outgoing["stream"], outgoing["stream_options"]) == (True, {"include_usage": True})
    assert body["stream"] is stream


@pytest.mark.parametrize(
    ("surface", "body"),
    [
        (CHAT, {"stream": False}),
        (CHAT, {}),
        (CHAT, {"stream_options": {"include_usage": True}}),
        (RESPONSES, {"stream": True}),
        (MESSAGES, {"stream": True}),
        (SURFACES["/v1/embeddings"], {"stream": True}),
    ],
)
def test_stream_options_are_added_only_where_they_mean_something(surface, body):
    assert sent(body, surface).get("stream_options") == body.get("stream_options")


def test_v12_the_callers_priority_never_travels():
    assert "priority" not in sent({"priority": -100})
    assert sent({"priority": -100}, priority=5)["priority"] == 5
    assert sent({}, priority=0)["priority"] == 0


def test_the_cache_salt_is_ours_when_there_is_one():
    assert sent({"cache_salt": "mine"}, cache_salt="tnt_1")["cache_salt"] == "tnt_1"
    assert sent({"cache_salt": "mine"})["cache_salt"] == "mine"


def test_defaults_fill_in_only_what_is_absent():
    outgoing = sent({"temperature": None, "top_p": 0.5}, defaults={"temperature": 0.7, "top_p": 1, "seed": 1})
    assert (outgoing["temperature"], outgoing["top_p"], outgoing["seed"]) == (None, 0.5, 1)


def test_the_callers_body_stays_as_it_was():
    body = {"model": "m", "stream": True, "priority": 1, "stream_options": {"x": 1}}
    sent(body, cache_salt="s", defaults={"seed": 1})
    assert body == {"model": "m", "stream": True, "priority": 1, "stream_options": {"x": 1}}
