from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.failures import StreamBroken
from app.core.outcome import Usage
from app.wire.chunks import Chunks
from app.wire.stream import StreamReader
from app.wire.surfaces import SURFACES
from tests.unit.wire.streams import (
    CHAT,
    COMPLETIONS,
    DONE,
    MESSAGES,
    RESPONSES,
    chunk,
    contents,
    event,
    final,
    recordings,
    role,
    text,
    used,
)

STREAMS = recordings(streamed=True)
GOOD = role() + text("a") + text("b") + chunk(finish="stop") + final(used(12, 3)) + DONE


def read(stream: bytes, surface=CHAT, **options) -> tuple[bytes, StreamReader]:
    reader = StreamReader(surface, **options)
    return reader.feed(stream), reader


def test_a_good_stream_passes_and_its_end_is_held():
    passed, reader = read(GOOD)
    assert passed == role() + text("a") + text("b") + chunk(finish="stop")
    assert reader.complete
    assert reader.end() == DONE
    assert (reader.usage, reader.usage_source, reader.finish, reader.events) == (
        Usage(12, 3),
        "upstream",
        "stop",
        2,
    )
    assert not reader.suspect


def test_before_anything_came_nothing_is_known():
    reader = StreamReader(CHAT, prompt_estimate=7)
    assert (reader.started, reader.complete, reader.error, reader.end()) == (False, False, None, b"")
    assert (reader.usage, reader.usage_source, reader.finish) == (Usage(7), "estimated", None)


def test_comments_pass_and_start_nothing():
    passed, reader = read(b": keep-alive\n\n")
    assert passed == b": keep-alive\n\n"
    assert not reader.started
    assert reader.feed(text()) == text()
    assert reader.started


USEFUL = {
    "text": (CHAT, text()),
    "reasoning": (CHAT, chunk({"reasoning": "hm"})),
    "reasoning, by its older name": (CHAT, chunk({"reasoning_content": "hm"})),
    "a tool call": (CHAT, chunk({"content": None, "tool_calls": [{"index": 0, "id": "1"}]})),
    "a field nobody knows": (CHAT, chunk({"thought": "hm"})),
    "the end of an empty answer": (CHAT, chunk(finish="stop")),
    "probabilities of an empty token": (CHAT, event({"choices": [{"index": 0, "delta": {}, "logprobs": {"a": 1}}]})),
    "ids of an empty token": (CHAT, event({"choices": [{"index": 0, "delta": {}, "token_ids": [1]}]})),
    "completion text": (COMPLETIONS, event({"choices": [{"index": 0, "text": "x"}]})),
    "a message's text": (MESSAGES, event({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "x"}})),
    "a message's tool": (MESSAGES, event({"type": "content_block_start", "content_block": {"type": "tool_use"}})),
    "a message's stop": (MESSAGES, event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}})),
    "a response's text": (RESPONSES, event({"type": "response.output_text.delta", "delta": "x"})),
    "a response's part": (RESPONSES, event({"type": "response.output_item.done"})),
    "a response's end": (RESPONSES, event({"type": "response.completed", "response": {"status": "completed"}})),
}  # fmt: skip

USELESS = {
    "a role": (CHAT, role()),
    "an empty delta": (CHAT, chunk({"content": ""})),
    "a comment": (CHAT, b": keep-alive\n\n"),
    "a usage alone": (CHAT, final(used(12, 0))),
    "no choice at all": (CHAT, event({"choices": [], "prompt_filter_results": [{"index": 0}]})),
    "an end that gives up": (CHAT, chunk(finish="abort")),
    "the end mark": (CHAT, DONE),
    "an error": (CHAT, event({"error": {"message": "x"}})),
    "an empty completion": (COMPLETIONS, event({"choices": [{"index": 0, "text": "", "logprobs": None}]})),
    "a message's start": (MESSAGES, event({"type": "message_start", "message": {"usage": {"input_tokens": 1}}})),
    "a message's ping": (MESSAGES, event({"type": "ping"})),
    "a message's empty block": (MESSAGES, event({"type": "content_block_start", "content_block": {"type": "text", "text": ""}})),
    "a message's empty text": (MESSAGES, event({"type": "content_block_delta", "delta": {"type": "text_delta", "text": ""}})),
    "a message given up": (MESSAGES, event({"type": "message_delta", "delta": {"stop_reason": "abort"}})),
    "a response's start": (RESPONSES, event({"type": "response.created", "response": {"status": "in_progress"}})),
    "a response's empty item": (RESPONSES, event({"type": "response.output_item.added", "item": {"type": "message"}})),
    "a response's empty text": (RESPONSES, event({"type": "response.output_text.delta", "delta": ""})),
}  # fmt: skip


@pytest.mark.parametrize(("surface", "one"), USEFUL.values(), ids=USEFUL.keys())
def test_what_the_model_made_starts_a_stream(surface, one):
    assert read(one, surface)[1].started


@pytest.mark.parametrize(("surface", "one"), USELESS.values(), ids=USELESS.keys())
def test_what_comes_without_the_model_starts_nothing(surface, one):
    _, reader = read(one * 2, surface)
    assert not reader.started


def test_the_first_text_is_spliced_although_it_is_the_first(monkeypatch):
    reader = StreamReader(CHAT, model="public")
    reader.feed(role())
    monkeypatch.setattr(Chunks, "edit", None)
    assert b'"public"' in reader.feed(text())
    assert reader.started


def test_an_empty_delta_of_a_known_choice_starts_nothing():
    reader = StreamReader(CHAT)
    reader.feed(role())
    assert reader.feed(chunk({"content": ""})) == chunk({"content": ""})
    assert not reader.started
    assert reader.feed(chunk({"content": ""})) and reader.feed(text())
    assert reader.started
    assert reader.events == 1


def test_events_without_data_pass_and_empty_data_does_not():
    assert read(b"event: x\n\nid: 1\n\n")[0] == b"event: x\n\nid: 1\n\n"
    assert read(b"data:\n\ndata: \n\n\n\n")[0] == b""


@pytest.mark.parametrize("end", [b"data: [DONE]\n\n", b"data:[DONE]\n\n", b"data: [DONE] \r\n\r\n"])
def test_the_end_mark_is_known_in_all_spellings(end):
    assert read(role() + chunk(finish="stop") + end)[1].end() == DONE


@pytest.mark.parametrize(
    "later", [DONE, text("late"), final(used(99, 99)), event({"error": {"message": "x"}})]
)
def test_u41_what_follows_the_end_is_ignored(later):
    for passed, reader in (read(GOOD + later), (b"", read(GOOD)[1])):
        assert reader.feed(later) == b""
        assert b"late" not in passed
        assert (reader.usage, reader.error, reader.complete) == (Usage(12, 3), None, True)


def test_p12_without_a_finish_there_is_no_end():
    passed, reader = read(role() + text() + DONE)
    assert passed == role() + text()
    assert (reader.complete, reader.end()) == (False, b"")


def test_a_queued_request_that_was_thrown_away_is_not_complete():
    assert not read(role() + DONE)[1].complete
    assert not read(DONE)[1].complete
    assert not read(DONE)[1].started


def test_without_the_end_mark_there_is_no_end():
    assert not read(role() + chunk(finish="stop"))[1].complete


@pytest.mark.parametrize("last", [DONE, event({"error": {"message": "x"}})])
def test_a_stream_has_ended_when_nothing_more_can_count(last):
    reader = StreamReader(CHAT)
    reader.feed(role() + text())
    assert not reader.ended
    reader.feed(last)
    assert reader.ended


def test_an_abort_is_no_end_and_is_not_shown():
    passed, reader = read(role() + text() + text("last", finish="abort") + DONE)
    assert passed == role() + text()
    assert (reader.complete, reader.end(), reader.finish) == (False, b"", "abort")


@pytest.mark.parametrize("prompts", [1, 2])
def test_all_choices_asked_for_must_finish(prompts):
    stream = b"".join(role(i) + chunk(index=i, finish="stop") for i in range(2)) + DONE
    assert read(stream, n=2, prompts=prompts)[1].complete is (prompts == 1)


def test_an_error_as_the_first_event_is_kept_from_the_caller():
    error = {"message": "bad", "type": "BadRequestError", "param": None, "code": 400}
    passed, reader = read(event({"error": error}) + DONE)
    assert (passed, reader.error, reader.started, reader.complete) == (b"", error, False, False)


def test_an_error_later_stops_everything():
    passed, reader = read(
        role() + text() + event({"error": {"message": "dead", "code": 500}}) + text() + DONE
    )
    assert passed == role() + text()
    assert reader.error["code"] == 500
    assert reader.feed(text()) == b""
    assert (reader.complete, reader.end()) == (False, b"")


@pytest.mark.parametrize("data", [b"{bad json", b"1", b"[]", b'"x"', b"null", b'{"a":"\xff"}', b"[" * 10_000])
def test_u38_what_is_no_object_breaks_the_stream_and_keeps_the_count(data):
    reader = StreamReader(CHAT)
    reader.feed(role() + text(usage=used(12, 1)))
    with pytest.raises(StreamBroken) as caught:
        reader.feed(text(usage=used(12, 2)) + b"data: " + data + b"\n\n")
    assert caught.value.reason == "garbled"
    assert reader.usage == Usage(12, 2)


def test_u38_lines_nobody_knows_are_no_data():
    assert read(b'dat: {"a":1}\n\n')[0] == b'dat: {"a":1}\n\n'


def test_u40_a_huge_event_breaks_the_stream():
    reader = StreamReader(CHAT, max_event=10_000)
    with pytest.raises(StreamBroken) as caught:
        for _ in range(20):
            reader.feed(b"data: " + b"x" * 1000)
    assert caught.value.reason == "event_too_large"


def test_u37_numbers_json_does_not_have_are_not_believed_and_not_shown():
    passed, reader = read(role() + text(usage=used(12, float("nan"))))
    assert passed == role() + text()
    assert (reader.suspect, reader.usage) == (True, Usage(0, 1))


def test_u36_without_usage_events_are_counted():
    _, reader = read(role() + text() + text() + chunk(finish="stop") + DONE, prompt_estimate=30)
    assert (reader.usage, reader.usage_source, reader.complete) == (Usage(30, 2), "counted", True)


@pytest.mark.parametrize("forged", [900_000_000, 2])
def test_u37_running_usage_that_leaps_or_shrinks_is_counted_instead(forged):
    stream = role(usage=used(12, 0)) + text(usage=used(12, 1)) + text(usage=used(12, 3))
    passed, reader = read(
        stream + text(usage=used(12, forged)) + chunk(finish="stop") + DONE, completion_limit=9
    )
    assert passed == role() + text() * 3 + chunk(finish="stop")
    assert (reader.usage, reader.usage_source, reader.suspect) == (Usage(12, 3), "counted", True)


def test_exact_at_every_moment_after_a_usage():
    reader = StreamReader(CHAT, model="public")
    reader.feed(role(usage=used(12, 0)))
    for count in range(1, 50):
        reader.feed(text(usage=used(12, count)))
        assert (reader.usage, reader.usage_source) == (Usage(12, count), "upstream")


def test_a_caller_who_asked_for_the_final_usage_gets_only_that():
    stream = (
        role(usage=used(12, 0))
        + text(usage=used(12, 1))
        + chunk(finish="stop", usage=used(12, 2))
        + final(used(12, 2))
    )
    assert read(stream + DONE, usage="final")[0] == role() + text() + chunk(finish="stop") + final(
        used(12, 2)
    )
    assert read(stream + DONE, usage="continuous")[0] == stream


def test_many_events_in_one_chunk_and_one_event_in_many_are_the_same():
    whole, _ = read(GOOD, model="public")
    reader = StreamReader(CHAT, model="public")
    assert b"".join(reader.feed(GOOD[i : i + 1]) for i in range(len(GOOD))) == whole


def test_messages_end_with_their_own_last_event():
    start = {
        "type": "message_start",
        "message": {"model": "tiny", "usage": {"input_tokens": 11, "output_tokens": 0}},
    }
    stop = {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn"},
        "usage": {"input_tokens": 11, "output_tokens": 4},
    }
    stream = b"event: message_start\n" + event(start) + b"event: message_delta\n" + event(stop)
    last = b"event: message_stop\n" + event({"type": "message_stop"})
    passed, reader = read(stream, MESSAGES, model="public")
    assert not reader.complete
    assert passed == stream.replace(b'"tiny"', b'"public"')
    assert reader.feed(last + event({"type": "ping"})) == b""
    assert (reader.complete, reader.end(), reader.usage) == (True, last, Usage(11, 4))


def test_a_done_mark_where_none_belongs_is_dropped():
    passed, reader = read(DONE, MESSAGES)
    assert passed == b""
    assert not reader.complete
    assert reader.feed(b": ping\n\n")


def test_a_message_without_a_stop_reason_is_not_complete():
    last = b"event: message_stop\n" + event({"type": "message_stop"})
    assert read(last, MESSAGES)[1].end() == b""


def test_a_failed_response_is_an_error():
    failed = {
        "type": "response.failed",
        "response": {"status": "failed", "error": {"message": "no", "code": "server_error"}},
    }
    passed, reader = read(b"event: response.failed\n" + event(failed), RESPONSES)
    assert (passed, reader.error["message"], reader.complete) == (b"", "no", False)


def expected(recording, model: str, wanted: str) -> list:
    """What an SDK should see, computed in the plainest way there is."""
    seen = []
    for content in contents(recording.body):
        if isinstance(content, dict):
            if content.get("error"):
                return seen
            for holder in (content, content.get("message"), content.get("response")):
                if isinstance(holder, dict) and "model" in holder:
                    holder["model"] = model
            if "choices" in content and "usage" in content and wanted != "continuous":
                if content["choices"]:
                    del content["usage"]
                elif wanted == "none":
                    continue
        seen.append(content)
    return seen


def test_there_are_recordings():
    assert len(STREAMS) > 25


@pytest.mark.parametrize("wanted", ["none", "final", "continuous"])
@pytest.mark.parametrize("recording", STREAMS, ids=repr)
def test_u39_callers_see_the_recorded_stream(recording, wanted):
    whole, _ = read(recording.body, recording.surface, model="a/public ü", usage=wanted)
    for stream in (recording.body, *(recording.body.replace(b"\n", end) for end in (b"\r\n", b"\r"))):
        passed, reader = read(
            stream, recording.surface, model="a/public ü", usage=wanted, **recording.choices
        )
        assert passed == whole
        assert contents(passed + reader.end()) == expected(recording, "a/public ü", wanted)


@pytest.mark.parametrize("wanted", ["none", "final", "continuous"])
@pytest.mark.parametrize("recording", STREAMS, ids=repr)
def test_splicing_equals_decoding_and_encoding(recording, wanted, monkeypatch):
    options = {"model": "public", "usage": wanted}
    spliced, reader = read(recording.body, recording.surface, **options)
    monkeypatch.setattr(Chunks, "splice", lambda self, event: None)
    encoded, other = read(recording.body, recording.surface, **options)
    assert spliced == encoded
    assert (reader.usage, reader.finish, reader.events) == (other.usage, other.finish, other.events)


@settings(max_examples=300)
@given(recording=st.sampled_from(STREAMS), data=st.data())
def test_u39_the_split_of_the_bytes_changes_nothing(recording, data):
    body = recording.body
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=12))
    whole, _ = read(body, recording.surface, model="public")
    reader = StreamReader(recording.surface, model="public")
    edges = [0, *sorted(cuts), len(body)]
    assert b"".join(reader.feed(body[a:b]) for a, b in pairwise(edges)) == whole


@settings(max_examples=300)
@given(recording=st.sampled_from(STREAMS), data=st.data(), end=st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_what_goes_straight_is_what_would_have_been_read(recording, data, end):
    body = recording.body.replace(b"\n", end)
    ends = [at + 2 * len(end) for at in range(len(body)) if body.startswith(2 * end, at)]
    cuts = data.draw(st.just(ends) | st.lists(st.integers(0, len(body)) | st.sampled_from(ends), max_size=12))
    whole, other = read(body, recording.surface, model="public")
    reader, passed = StreamReader(recording.surface, model="public"), b""
    for a, b in pairwise([0, *sorted(cuts), len(body)]):
        straight = reader.splice(body[a:b])
        passed += reader.feed(body[a:b]) if straight is None else straight
    assert passed == whole
    assert (reader.usage, reader.events, reader.end()) == (other.usage, other.events, other.end())


def recorded_usage(recording) -> Usage | None:
    """The last usage of the recording, wherever it stands."""
    for content in reversed(contents(recording.body)):
        usage = isinstance(content, dict) and (
            content.get("usage") or content.get("response", {}).get("usage")
        )
        if usage:
            counts = (
                usage.get("prompt_tokens", usage.get("input_tokens")),
                usage.get("completion_tokens", usage.get("output_tokens")),
            )
            return Usage(*counts)
    return None


@pytest.mark.parametrize("recording", STREAMS, ids=repr)
def test_recorded_usage_is_read_exactly(recording):
    _, reader = read(recording.body, recording.surface, **recording.choices)
    stated = recorded_usage(recording)
    if stated is None:
        assert reader.usage_source != "upstream"
    else:
        assert reader.usage_source == "upstream"
        assert (reader.usage.prompt, reader.usage.completion) == (stated.prompt, stated.completion)
        assert not reader.suspect


@pytest.mark.parametrize("recording", STREAMS, ids=repr)
def test_recorded_streams_are_complete_or_in_error(recording):
    _, reader = read(recording.body, recording.surface, **recording.choices)
    assert reader.complete is (reader.error is None)


@pytest.mark.parametrize(
    ("name", "usage"),
    [
        ("chat_n2_stream_usage_continuous", Usage(12, 8)),
        ("completions_list_stream_usage_continuous", Usage(8, 6)),
    ],
)
def test_running_usage_alone_reaches_the_final_one(name, usage):
    [recording] = [one for one in STREAMS if one.name == name]
    before_the_last, mark, _ = recording.body.rpartition(b'"choices":[],"usage"')
    _, reader = read(before_the_last, recording.surface, **recording.choices)
    assert mark
    assert (reader.usage, reader.usage_source) == (usage, "upstream")


@given(
    st.lists(
        st.sampled_from(
            [
                role(),
                text(),
                chunk(finish="stop"),
                final(used(1, 1)),
                DONE,
                b"\r",
                b"\n",
                b"data: ",
                b'{"error":1}',
                b"\xff",
                b": x\n\n",
                b'{"choices":[{}]}\n\n',
            ]
        ),
        max_size=30,
    ),
    st.sampled_from(sorted(SURFACES)),
)
def test_no_stream_raises_anything_but_stream_broken(parts, path):
    reader = StreamReader(SURFACES[path], model="public", max_event=2000)
    try:
        for part in parts:
            reader.feed(part)
        reader.end()
    except StreamBroken:
        pass
    assert reader.usage.total >= 0
