"""Every recording of the real server, sent again: the simulator answers in the same shape, and mostly in the same words."""

from __future__ import annotations

import asyncio
import json

import pytest

from app.simulator import Simulator
from tests.unit.simulator.raw_client import Heard, Line, ask, chat, occupied, post, until
from tests.unit.simulator.recordings import CASES, options_of, request_of

SILENT = ("paused_chat", "sleep_chat")
"""Recordings of no answer: the server took the request and said nothing for as long as it was waited for."""

OTHER_WORDS = {
    "chat_json_object": "the tiny model rambled to its limit; the simulator closes its JSON",
    "chat_json_schema": "the tiny model rambled to its limit; the simulator closes its JSON",
    "chat_structured_regex": "another string that matches",
    "err_max_tokens_prompt_plus": "the tiny model broke down on a thousand equal words",
    "reasonq3_nothink_disabled": "the tiny model counted instead of answering",
    "reasonq3_stream_nothink_disabled": "the tiny model counted instead of answering",
    "completions_list": "the tiny model repeats itself on bare prompts",
    "completions_token_ids": "the tiny model repeats itself on bare prompts",
    "stream_err_bad_words_ok": "banned words are not acted upon",
}
"""Recordings whose text the simulator does not speak: their completion counts and finish reasons are free."""

FIRST = {
    "prefix_second": ["prefix_first"],
    "prefix_second_stream": ["prefix_first"],
    "prefix_salted": ["prefix_first"],
    "is_paused": ["pause"],
    "paused_chat": ["pause"],
    "paused_chat_stream": ["pause"],
    "resume": ["pause"],
    "sleep_chat": ["sleep_level1"],
    "sleep_is": ["sleep_level1"],
    "sleep_health": ["sleep_level1"],
    "sleep_wake": ["sleep_level1"],
}
"""What the server was asked before."""

FAMILIES = (
    "abort", "absent", "chat", "completions", "detokenize", "embed", "err", "generate", "get", "head", "invocations",
    "is_paused", "messages", "n_exceeds", "options", "pause", "per_request", "plain", "prefix", "queue", "reasonq3",
    "reset", "responses", "resume", "sleep", "stream_err", "tokenize", "two_names",
)  # fmt: skip


def recorded(name: str) -> Heard:
    case = CASES[name]
    lines = [case["status_line"], *case["headers"]]
    body = case["body"]
    if case["status_line"].startswith("HTTP/1.1 100"):
        head, _, body = body.replace("\r\n", "\n").partition("\n\n")
        lines = head.split("\n")
    headers = [tuple(line.split(": ", 1)) for line in lines[1:]]
    return Heard(lines[0], headers, body.encode(), complete=True)


def shape(value):
    """Keys in order, kinds of values, and lists without their repetitions."""
    if isinstance(value, dict):
        if value and all(key.isdigit() or isinstance(inner, float) for key, inner in value.items()):
            return {"map": shape(list(value.values()))}
        return [(key, shape(inner)) for key, inner in value.items()]
    if isinstance(value, list):
        found = []
        for inner in map(shape, value):
            if inner not in found:
                found.append(inner)
        return {"list": found}
    if isinstance(value, bool) or value is None:
        return value
    return "number" if isinstance(value, int | float) else "text"


def threads(heard: Heard, *, finishes: bool) -> dict:
    """The events of a stream by choice, runs of equal shape made one. `[DONE]` and comments are a thread of their own."""
    found: dict = {}
    for event in heard.events:
        name, payload = "", event
        if event.startswith(b"event: "):
            first, _, payload = event.partition(b"\n")
            name = first.decode()
        if not payload.startswith(b"data: {"):
            key, form = "frame", payload
        else:
            body = json.loads(payload[6:])
            choices = body.get("choices") or [{}]
            key, form = (
                choices[0].get("index"),
                (name, shape(body), choices[0].get("finish_reason") if finishes else None),
            )
        if not found.setdefault(key, []) or found[key][-1] != form:
            found[key].append(form)
    return found


def usages(heard: Heard) -> list:
    """Every usage said, in order."""
    bodies = heard.data if "event-stream" in (heard.header("content-type") or "") else [heard.json()]
    return [body["usage"] for body in bodies if isinstance(body, dict) and body.get("usage")]


def finishes(heard: Heard) -> dict:
    bodies = heard.data if "event-stream" in (heard.header("content-type") or "") else [heard.json()]
    return {
        choice["index"]: choice["finish_reason"]
        for body in bodies
        for choice in body.get("choices", ())
        if choice.get("finish_reason")
    }


async def replay(name: str) -> Heard:
    async with Simulator(options_of(name)) as sim:
        for before in FIRST.get(name, ()):
            await ask(sim, request_of(before))
        if name.startswith(("queue_full", "n_exceeds")):
            sim.adjust(max_num_seqs=1, max_queued=2, itl=10.0)
            async with occupied(sim, 3):
                return await ask(sim, request_of(name))
        async with await Line.to(sim) as line:
            if name == "paused_chat_stream":
                line.send(request_of(name))
                return await line.head()
            if name == "queued_keepalive_stream":
                sim.adjust(max_num_seqs=1, sse_keep_alive=0.02, ttft=0.05)
                async with await Line.to(sim) as other:
                    other.send(post(chat("3 tokens")))
                    await until(lambda: sim.truth.records)
                    return await line.ask(request_of(name))
            heard = await line.ask(request_of(name))
            return await asyncio.wait_for(line.hear(), 5) if heard.status == 100 else heard


@pytest.mark.parametrize("name", SILENT)
async def test_is_as_silent_as_the_recorded_server(name):
    assert (CASES[name]["status_line"], CASES[name]["body"]) == ("", "")
    async with Simulator(options_of(name)) as sim:
        for before in FIRST[name]:
            assert (await ask(sim, request_of(before))).status == 200
        async with await Line.to(sim) as line:
            line.send(request_of(name))
            await until(lambda: sim.truth.active)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(line.reader.read(1), 0.1)


@pytest.mark.parametrize("name", [name for name in CASES if name not in SILENT])
async def test_answers_like_the_recorded_server(name):
    heard, wanted = await replay(name), recorded(name)
    assert heard.status_line == wanted.status_line
    assert heard.names == wanted.names
    for header in (
        "content-type",
        "allow",
        "vary",
        "connection",
        "access-control-allow-methods",
        "endpoint-load-metrics",
    ):
        assert heard.header(header) == wanted.header(header)
    if "event-stream" in (wanted.header("content-type") or ""):
        compare_streams(name, heard, wanted)
    elif (wanted.header("content-type") or "") == "application/json" and wanted.body:
        compare_bodies(name, heard, wanted)
    else:
        assert heard.body == wanted.body


def compare_streams(name: str, heard: Heard, wanted: Heard) -> None:
    free = name in OTHER_WORDS
    assert heard.complete or not wanted.body
    assert threads(heard, finishes=not free) == threads(wanted, finishes=not free)
    for usage in usages(heard):
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    if not free and usages(wanted):
        assert usages(heard)[-1] == usages(wanted)[-1]
        assert finishes(heard) == finishes(wanted)


def compare_bodies(name: str, heard: Heard, wanted: Heard) -> None:
    said, was = heard.json(), wanted.json()
    if wanted.status >= 400:
        assert said == was
        return
    if name in OTHER_WORDS:
        assert (
            said["usage"]["total_tokens"]
            == said["usage"]["prompt_tokens"] + said["usage"]["completion_tokens"]
        )
        assert said["usage"]["prompt_tokens"] == was["usage"]["prompt_tokens"]
    elif was.get("usage"):
        assert said["usage"] == was["usage"]
        assert finishes(heard) == finishes(wanted)
        assert words(said) == words(was)
    assert shape(said) == shape(was)
    assert list(said) == list(was)


def words(body: dict) -> list:
    """The text of every choice."""
    return [
        choice.get("text") or choice.get("message", {}).get("content") for choice in body.get("choices", ())
    ]


def test_every_recording_is_compared_or_listed():
    assert set(SILENT) | set(OTHER_WORDS) <= set(CASES)
    assert all(bool(case["status_line"]) != (name in SILENT) for name, case in CASES.items())
    assert all(name.startswith(FAMILIES) for name in CASES)
    assert all(any(name.startswith(family) for name in CASES) for family in FAMILIES)


@pytest.mark.parametrize(
    "name", ["chat_stream_long", "chat_stop_stream", "chat_tool_parallel_stream", "chat_utf8_stream"]
)
async def test_streams_say_the_recorded_words_in_the_recorded_pieces(name):
    heard, wanted = await replay(name), recorded(name)

    def pieces(answer: Heard) -> list:
        return [
            choice["delta"] | {"tool_calls": None} for event in answer.data for choice in event["choices"]
        ]

    assert pieces(heard) == pieces(wanted)
