import json

import pytest

from app.core.failures import BadUpstream
from app.core.outcome import Usage
from app.wire.reply import read_reply
from app.wire.surfaces import SURFACES
from tests.unit.wire.streams import CHAT, COMPLETIONS, MESSAGES, RESPONSES, recordings, used

EMBEDDINGS = SURFACES["/v1/embeddings"]
ANSWERS = recordings(streamed=False)


def chat(finish: object = "stop", *, usage: object = None, **more) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": "x" * 40}, "finish_reason": finish}
    answer = {"id": "1", "object": "chat.completion", "created": 1, "model": "tiny", "choices": [choice]}
    return json.dumps(answer | {"usage": usage or used(12, 50)} | more, separators=(",", ":")).encode()


def test_an_answer_that_needs_no_change_passes_as_it_is():
    raw = chat()
    for model in (None, "tiny"):
        answer = read_reply(CHAT, raw, model=model)
        assert answer.raw is raw
    assert (answer.usage, answer.usage_source, answer.finish) == (Usage(12, 50), "upstream", "stop")
    assert answer.complete
    assert not answer.suspect


def test_u43_the_model_is_renamed_without_touching_another_byte():
    assert read_reply(CHAT, chat(), model='a "b"').raw == chat().replace(b'"tiny"', rb'"a \"b\""')


def test_other_shapes_are_decoded_and_encoded():
    raw = (
        b'{ "choices": [{"finish_reason": "stop"}], "model": "tiny", "big": 123456789012345678901234567890 }'
    )
    assert json.loads(read_reply(CHAT, raw, model="public").raw) == json.loads(raw) | {"model": "public"}


def test_an_answer_without_a_model_gets_none():
    assert read_reply(SURFACES["/tokenize"], b'{"count":1}', model="public").raw == b'{"count":1}'


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"<html>",
        b"{}{}",
        b'{"choices":{}}',
        b'{"choices":[1]}',
        b'{"a":' * 100_000,
        b'{"choices":[{"finish_reason":[]}]}',
    ],
)
def test_what_is_no_answer_is_bad_upstream(raw):
    with pytest.raises(BadUpstream):
        read_reply(CHAT, raw)


@pytest.mark.parametrize("model", ["public", None])
def test_text_that_is_not_utf8_is_bad_upstream(model):
    with pytest.raises(BadUpstream):
        read_reply(
            COMPLETIONS, b'{"model":"m","choices":[{"text":"\xff","finish_reason":"stop"}]}', model=model
        )


def test_u36_without_usage_the_text_is_measured():
    answer = json.loads(chat())
    del answer["usage"]
    read = read_reply(CHAT, json.dumps(answer).encode(), prompt_estimate=9)
    assert (read.usage.prompt, read.usage_source, read.suspect) == (9, "estimated", False)
    assert 10 <= read.usage.completion <= 15
    assert read.complete


@pytest.mark.parametrize(
    ("surface", "raw"),
    [
        (COMPLETIONS, b'{"choices":[{"text":"%s","message":"","finish_reason":"stop"}]}'),
        (MESSAGES, b'{"content":["%s"],"stop_reason":"end_turn"}'),
        (RESPONSES, b'{"output":["%s"],"status":"completed"}'),
    ],
)
def test_u36_the_text_is_found_in_every_dialect(surface, raw):
    assert read_reply(surface, raw % (b"x" * 40)).usage.completion == 10


@pytest.mark.parametrize("forged", [-5, "5", 1e30, True])
def test_u37_forged_usage_is_estimated_and_suspect(forged):
    answer = read_reply(CHAT, chat(usage=used(12, forged)), prompt_estimate=7)
    assert (answer.usage.prompt, answer.usage_source, answer.suspect) == (7, "estimated", True)


def test_u37_more_than_twice_what_was_asked_for_is_not_believed():
    believed = read_reply(CHAT, chat(usage=used(12, 20)), completion_limit=10)
    assert (believed.usage, believed.usage_source, believed.suspect) == (Usage(12, 20), "upstream", False)
    answer = read_reply(CHAT, chat(usage=used(12, 21)), prompt_estimate=7, completion_limit=10)
    assert (answer.usage.prompt, answer.usage_source, answer.suspect) == (7, "estimated", True)


def test_u37_numbers_json_does_not_have_become_null():
    answer = read_reply(CHAT, chat(usage=used(12, float("nan"))), model="public")
    assert json.loads(answer.raw)["usage"]["completion_tokens"] is None
    assert (answer.usage_source, answer.suspect) == ("estimated", True)


@pytest.mark.parametrize("finish", [None, "abort", "error"])
def test_an_engine_that_gave_up_is_not_complete(finish):
    answer = read_reply(CHAT, chat(finish))
    assert (answer.complete, answer.finish) == (False, finish)


def test_one_choice_given_up_is_not_complete():
    answer = json.loads(chat())
    answer["choices"] = [{"finish_reason": "abort"}, {"finish_reason": "stop"}]
    read = read_reply(CHAT, json.dumps(answer).encode())
    assert (read.complete, read.finish) == (False, "abort")


@pytest.mark.parametrize("raw", [b"{}", b'{"choices":[]}', b'{"choices":null}'])
def test_an_answer_without_choices_is_not_complete(raw):
    assert not read_reply(CHAT, raw).complete


@pytest.mark.parametrize(
    ("surface", "raw", "complete"),
    [
        (MESSAGES, b'{"stop_reason":"end_turn"}', True),
        (MESSAGES, b'{"stop_reason":null}', False),
        (MESSAGES, b'{"stop_reason":"abort"}', False),
        (RESPONSES, b'{"status":"completed"}', True),
        (RESPONSES, b'{"status":"queued"}', True),
        (RESPONSES, b'{"status":"failed"}', False),
        (RESPONSES, b'{"status":"cancelled"}', False),
        (EMBEDDINGS, b'{"data":[]}', True),
        (EMBEDDINGS, b'{"error":{"message":"x"}}', False),
    ],
)
def test_each_dialect_says_in_its_own_way_that_it_is_complete(surface, raw, complete):
    assert read_reply(surface, raw).complete is complete


@pytest.mark.parametrize("recording", ANSWERS, ids=repr)
def test_recorded_answers_are_complete_and_renamed(recording):
    answer = read_reply(recording.surface, recording.body, model="a/public ü")
    before = json.loads(recording.body)
    assert answer.complete
    assert json.loads(answer.raw) == before | ({"model": "a/public ü"} if "model" in before else {})


@pytest.mark.parametrize("recording", ANSWERS, ids=repr)
def test_recorded_usage_is_read_exactly(recording):
    answer = read_reply(recording.surface, recording.body)
    usage = json.loads(recording.body).get("usage") or {}
    if recording.path in ("/tokenize", "/detokenize"):
        assert answer.usage == Usage()
    elif usage:
        assert answer.usage.prompt == usage.get("prompt_tokens", usage.get("input_tokens"))
        assert answer.usage.completion == (usage.get("completion_tokens", usage.get("output_tokens")) or 0)
    assert answer.usage_source == ("upstream" if usage or "tokenize" in recording.path else "estimated")


def test_there_are_recordings():
    assert len(ANSWERS) > 40
