"""Every fault over a real socket: exact, and the same each time."""

from __future__ import annotations

import asyncio

import pytest

from app.simulator import Simulator
from app.simulator.faults.fault import NAMES
from tests.unit.simulator.raw_client import Line, ask, chat, get, post, until

STREAM = chat("forever", stream=True, max_tokens=20)


@pytest.fixture
async def sim():
    async with Simulator(ttft=0.001, itl=0.001, keep_alive=60) as simulator:
        yield simulator


async def silence(line: Line, seconds: float = 0.05) -> bool:
    """Whether nothing more comes, not even an end."""
    try:
        await asyncio.wait_for(line.reader.read(1), seconds)
    except TimeoutError:
        return True
    return False


def content(heard) -> int:
    """Tokens whose text arrived."""
    return sum(bool(choice["delta"].get("content")) for event in heard.data for choice in event["choices"])


@pytest.mark.parametrize("name", ["silent", "health_hang", "metrics_hang"])
async def test_accepts_and_never_answers(sim, name):
    path = {"health_hang": "/health", "metrics_hang": "/metrics"}.get(name, "/v1/chat/completions")
    sim.faults.add(name)
    async with await Line.to(sim) as line:
        line.send(get(path) if name != "silent" else post(chat()))
        assert await silence(line)
        assert sim.truth.counters.requests == 1


async def test_a_client_that_leaves_a_silent_server_is_an_abort(sim):
    sim.faults.add("silent")
    async with await Line.to(sim) as line:
        line.send(post(chat()))
        await until(lambda: sim.truth.records)
    await until(lambda: sim.truth.last.aborted)
    assert sim.truth.counters.aborts == 1


async def test_head_then_silence(sim):
    sim.faults.add("head_then_silence")
    async with await Line.to(sim) as line:
        line.send(post(STREAM))
        head = await line.head()
        assert (head.status, head.header("content-type")) == (200, "text/event-stream; charset=utf-8")
        assert await silence(line)
    assert sim.truth.last.generated == 0


async def test_half_a_head_then_silence(sim):
    sim.faults.add("half_head")
    async with await Line.to(sim) as line:
        line.send(post(STREAM))
        assert await line.reader.readexactly(23) == b"HTTP/1.1 200 OK\r\ndate: "
        assert await silence(line)


@pytest.mark.parametrize(("name", "error"), [("close", "closed"), ("rst", "reset")])
async def test_breaks_off_before_a_word(sim, name, error):
    sim.faults.add(name)
    assert (await ask(sim, post(chat()))).error == error


@pytest.mark.parametrize(
    ("name", "error"), [("rst", "reset"), ("cut", "cut"), ("close", "cut"), ("cut_in_chunk", "cut")]
)
@pytest.mark.parametrize("tokens", [0, 1, 3])
async def test_breaks_off_after_exactly_so_many_tokens(sim, name, error, tokens):
    sim.faults.add(name, after_tokens=tokens)
    heard = await ask(sim, post(STREAM))
    assert (heard.status, heard.error, content(heard), heard.done) == (200, error, tokens, False)
    record = sim.truth.last
    assert (record.generated, record.sent, record.finish, record.fault) == (tokens, tokens, ["broken"], name)
    assert (record.aborted, sim.idle) == (None, True)


async def test_bad_chunk_framing(sim):
    sim.faults.add("bad_chunk", after_tokens=2)
    heard = await ask(sim, post(STREAM))
    assert (heard.error, content(heard)) == ("garbled", 2)


@pytest.mark.parametrize("name", ["rst", "cut"])
async def test_breaks_off_a_whole_answer_while_it_is_made(sim, name):
    sim.faults.add(name, after_tokens=3)
    heard = await ask(sim, post(chat("hello")))
    assert (heard.status_line, sim.truth.last.generated, sim.truth.last.sent) == ("", 3, 0)


async def test_stalls_after_exactly_so_many_tokens_and_keeps_its_place(sim):
    sim.faults.add("stall", after_tokens=3)
    async with await Line.to(sim) as line:
        line.send(post(STREAM))
        await line.head()
        await line.events(4)
        assert await silence(line)
        assert (sim.truth.last.generated, len(sim.instance.engines[0].running)) == (3, 1)
    await until(lambda: sim.idle)
    assert (sim.truth.last.aborted is not None, sim.truth.last.finish) == (True, ["gone"])


async def test_ends_with_finish_reason_abort(sim):
    sim.faults.add("abort", after_tokens=2)
    heard = await ask(sim, post(STREAM))
    assert (heard.data[-1]["choices"][0]["finish_reason"], heard.done, heard.complete) == (
        "abort",
        True,
        True,
    )
    assert (content(heard), sim.truth.last.finish) == (2, ["abort"])


async def test_a_whole_answer_can_end_with_abort(sim):
    sim.faults.add("abort", after_tokens=2)
    body = (await ask(sim, post(chat("hello")))).json()
    assert (body["choices"][0]["finish_reason"], body["usage"]["completion_tokens"]) == ("abort", 2)


@pytest.mark.parametrize("code", [400, 500])
async def test_an_error_is_the_first_event(sim, code):
    sim.faults.add("error", code=code, message="no")
    heard = await ask(sim, post(STREAM))
    assert (heard.status, heard.done, len(heard.data)) == (200, True, 1)
    kind = "BadRequestError" if code == 400 else "InternalServerError"
    assert heard.data[0]["error"] == {"message": "no", "type": kind, "param": None, "code": code}
    assert b'"message": "no"' in heard.body


async def test_an_error_comes_in_the_middle(sim):
    sim.faults.add("error", after_tokens=2)
    heard = await ask(sim, post(STREAM))
    assert (len(heard.data), heard.data[-1]["error"]["code"], heard.done) == (4, 500, True)


async def test_a_whole_answer_takes_the_status_of_its_error(sim):
    sim.faults.add("error", code=400, message="no")
    assert (await ask(sim, post(chat()))).status == 400
    assert sim.truth.last.status == 400


@pytest.mark.parametrize(
    ("name", "status", "kind", "text"),
    [
        ("drain_500", 500, "InternalServerError", "cannot schedule new futures after shutdown"),
        ("engine_dead", 500, "InternalServerError", "EngineCore encountered an issue"),
        ("plain_500", 500, "InternalServerError", "Internal server error"),
        ("queue_full", 503, "Service Unavailable", "The engine is currently busy"),
        ("rate_limited", 429, "RateLimitError", "Too many requests"),
        ("model_unloaded", 404, "NotFoundError", "The model `tiny` does not exist"),
    ],
)
async def test_refuses(sim, name, status, kind, text):
    sim.faults.add(name)
    heard = await ask(sim, post(STREAM))
    error = heard.json()["error"]
    assert (heard.status, error["type"], error["code"]) == (status, kind, status)
    assert text in error["message"]
    assert heard.header("retry-after") is None
    assert (sim.truth.last.status, sim.truth.last.fault) == (status, name)


@pytest.mark.parametrize("name", ["queue_full", "rate_limited", "status"])
async def test_may_name_a_time_to_come_back(sim, name):
    sim.faults.add(name, retry_after="7", code=503)
    assert (await ask(sim, post(chat()))).header("retry-after") == "7"


@pytest.mark.parametrize(
    ("name", "status", "word"), [("unauthorized", 401, "Unauthorized"), ("forbidden", 403, "Forbidden")]
)
async def test_rejects_the_key(sim, name, status, word):
    sim.faults.add(name)
    heard = await ask(sim, post(chat()))
    assert (heard.status, heard.json()) == (status, {"error": word})


async def test_redirects(sim):
    sim.faults.add("redirect", location="http://169.254.169.254/")
    heard = await ask(sim, post(chat()))
    assert (heard.status, heard.header("location")) == (307, "http://169.254.169.254/")


async def test_answers_with_any_status_and_body(sim):
    sim.faults.add("status", code=999, body="x")
    heard = await ask(sim, post(chat()))
    assert (heard.status_line, heard.body) == ("HTTP/1.1 999 ", b"x")


async def test_answers_with_html(sim):
    sim.faults.add("html")
    heard = await ask(sim, post(chat()))
    assert (heard.status, heard.header("content-type")) == (200, "text/html; charset=utf-8")


@pytest.mark.parametrize(("then", "end"), [("close", b""), ("rst", ConnectionResetError)])
async def test_says_raw_bytes(sim, then, end):
    sim.faults.add("raw", body="SSH-2.0-x\r\n", then=then)
    async with await Line.to(sim) as line:
        line.send(post(chat()))
        assert await line.reader.readline() == b"SSH-2.0-x\r\n"
        if end:
            with pytest.raises(end):
                await line.reader.read()
        else:
            assert await line.reader.read() == b""


async def test_raw_bytes_may_be_followed_by_silence(sim):
    sim.faults.add("raw", body="HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab", then="hang")
    async with await Line.to(sim) as line:
        line.send(post(chat()))
        assert (await line.head()).status == 200
        assert await line.reader.readexactly(2) == b"ab"
        assert await silence(line)


async def test_ends_without_done(sim):
    sim.faults.add("no_done")
    heard = await ask(sim, post(STREAM))
    assert (heard.complete, heard.done, heard.data[-1]["choices"][0]["finish_reason"]) == (
        True,
        False,
        "length",
    )


async def test_ends_without_finish_reason(sim):
    sim.faults.add("no_finish")
    heard = await ask(sim, post(STREAM))
    assert heard.done
    assert all(choice["finish_reason"] is None for event in heard.data for choice in event["choices"])


async def test_malformed_events(sim):
    sim.faults.add("malformed", after_tokens=2)
    heard = await ask(sim, post(STREAM))
    assert b"dat: " in heard.body
    assert b"data: {bad json" in heard.body


async def test_something_after_done(sim):
    sim.faults.add("after_done", body='data: {"x":1}\n\n')
    assert (await ask(sim, post(STREAM))).events[-2:] == [b"data: [DONE]", b'data: {"x":1}']


async def test_body_never_ends_after_done(sim):
    sim.faults.add("no_end")
    async with await Line.to(sim) as line:
        line.send(post(STREAM))
        await line.reader.readuntil(b"data: [DONE]\n\n\r\n")
        assert await silence(line)


async def test_carriage_returns(sim):
    sim.faults.add("crlf")
    heard = await ask(sim, post(STREAM))
    assert b"\r\n\r\ndata: " in heard.body
    assert b"\n\n" not in heard.body


@pytest.mark.parametrize("stream", [True, False])
async def test_usage_can_be_kept_back(sim, stream):
    sim.faults.add("no_usage")
    options = {"stream_options": {"include_usage": True}} if stream else {}
    heard = await ask(sim, post(chat("short", stream=stream, **options)))
    assert b"usage" not in heard.body
    assert heard.complete


async def test_usage_can_be_forged(sim):
    sim.faults.add("usage", usage={"prompt_tokens": -5})
    assert (await ask(sim, post(chat("short")))).json()["usage"] == {"prompt_tokens": -5}


async def test_another_model_can_be_named(sim):
    sim.faults.add("wrong_model", body="theirs")
    assert {event["model"] for event in (await ask(sim, post(STREAM))).data} == {"theirs"}


async def test_characters_are_split_between_packets(sim):
    sim.faults.add("split_utf8", delay=0.002)
    async with await Line.to(sim) as line:
        line.send(post(chat("unicode", stream=True)))
        packets = []
        while not packets or not packets[-1].endswith(b"0\r\n\r\n"):
            packets.append(await line.reader.read(65536))
    broken = 0
    for packet in packets:
        try:
            packet.decode()
        except UnicodeDecodeError:
            broken += 1
    assert broken > 10
    assert "你" in b"".join(packets).decode()


async def test_one_event_in_many_packets(sim):
    sim.faults.add("fragment", size=40, delay=0.001)
    async with await Line.to(sim) as line:
        line.send(post(chat("short", stream=True)))
        first = await line.reader.read(65536)
        assert 0 < len(first) <= 80
        rest = b""
        while not rest.endswith(b"0\r\n\r\n"):
            rest += await line.reader.read(65536)
    assert b"[DONE]" in rest


async def test_many_events_in_one_packet(sim):
    sim.adjust(itl=0.01)
    sim.faults.add("coalesce", size=4)
    async with await Line.to(sim) as line:
        line.send(post(chat("hello", stream=True)))
        await line.head()
        assert (await line.reader.read(65536)).count(b"data: ") == 4
        heard = await line.reader.readuntil(b"0\r\n\r\n")
    assert b"[DONE]" in heard


async def test_comments_between_events(sim):
    sim.adjust(itl=0.02)
    sim.faults.add("comments", delay=0.004)
    heard = await ask(sim, post(chat("3 tokens", stream=True)))
    assert heard.body.count(b": keep-alive\n\n") >= 3
    assert heard.done


async def test_merged_tokens(sim):
    sim.faults.add("merge_tokens", size=5)
    heard = await ask(sim, post(STREAM))
    assert content(heard) == 4
    assert (sim.truth.last.sent, heard.text) == (20, "and on" * 10)


async def test_a_slow_head(sim):
    sim.faults.add("slow_head", delay=0.001)
    async with await Line.to(sim) as line:
        line.send(post(chat("short")))
        assert len(await line.reader.read(65536)) < 20
        heard = await line.reader.readuntil(b"\r\n\r\n")
        assert b"content-length" in heard
        assert b"OK." in await line.reader.readexactly(600)


async def test_a_late_answer(sim):
    sim.faults.add("delay", delay=0.05)
    async with await Line.to(sim) as line:
        line.send(post(chat("short")))
        assert await silence(line, 0.03)
        assert (await line.hear()).status == 200


async def test_a_late_refusal_and_a_client_that_did_not_wait(sim):
    sim.faults.add("delay", delay=0.01, count=2)
    assert (await ask(sim, post({"model": "nope", "messages": []}))).status == 404
    async with await Line.to(sim) as line:
        line.send(post(chat("short")))
        await until(lambda: len(sim.truth.records) == 2)
    await until(lambda: sim.truth.last.aborted)
    await asyncio.sleep(0.02)
    assert sim.truth.last.generated == 0


async def test_closes_after_an_answer_that_promised_otherwise(sim):
    sim.faults.add("close_after")
    async with await Line.to(sim) as line:
        heard = await line.ask(post(chat("short")))
        assert (heard.status, heard.header("connection")) == (200, None)
        assert await line.reader.read() == b""


async def test_health_can_lie_both_ways(sim):
    sim.faults.add("health_dead")
    assert [(await ask(sim, get("/health"))).status for _ in range(2)] == [503, 200]
    sim.kill_engine()
    sim.faults.add("health_alive")
    async with await dead_line(sim) as line:
        assert [(await line.ask(get("/health"))).status for _ in range(2)] == [200, 503]


async def dead_line(sim) -> Line:
    """A connection to a server that no longer listens is none: listen again first."""
    await sim.accept()
    return await Line.to(sim)


@pytest.mark.parametrize(
    ("name", "has", "lacks"),
    [
        ("metrics_missing", b"python_info", b"vllm:"),
        ("metrics_old_names", b"vllm:gpu_cache_usage_perc", b"vllm:kv_cache_usage_perc"),
        ("metrics_garbage", b"<html>", b"# HELP"),
    ],
)
async def test_metrics_lie(sim, name, has, lacks):
    sim.faults.add(name)
    body = (await ask(sim, get("/metrics"))).body
    assert has in body
    assert lacks not in body
    assert b"vllm:kv_cache_usage_perc" in (await ask(sim, get("/metrics"))).body


async def test_metrics_grow_stale(sim):
    sim.faults.add("metrics_stale", count=None)
    before = (await ask(sim, get("/metrics"))).body
    await ask(sim, post(chat("short")))
    assert (await ask(sim, get("/metrics"))).body == before
    sim.faults.clear()
    assert b"vllm:generation_tokens_total{" in before
    assert (await ask(sim, get("/metrics"))).body != before


async def test_metrics_are_huge(sim):
    sim.faults.add("metrics_huge")
    async with await Line.to(sim) as line:
        line.send(get("/metrics"))
        assert int((await line.head()).header("content-length")) > 100_000_000


async def test_a_request_may_bring_its_fault_in_a_header(sim):
    heard = await ask(sim, post(STREAM, x_sim_fault="cut;after=2"))
    assert (heard.error, content(heard)) == ("cut", 2)


@pytest.mark.parametrize("spec", ["cut;after=2", {"fault": "cut", "after_tokens": 2}])
async def test_a_request_may_bring_its_fault_in_its_body(sim, spec):
    heard = await ask(sim, post(STREAM | {"sim_fault": spec}))
    assert (heard.error, content(heard)) == ("cut", 2)


async def test_an_unknown_fault_is_refused(sim):
    heard = await ask(sim, post(STREAM, x_sim_fault="nonsense"))
    assert heard.status == 400
    assert "sim_fault" in heard.json()["detail"]


async def test_broken_json_may_still_meet_a_fault(sim):
    sim.faults.add("queue_full")
    assert (await ask(sim, post(b"{nonsense"))).status == 503


async def test_faults_by_model_stream_and_request_id(sim):
    for match in ({"model": "tiny"}, {"stream": True}, {"request_id": "r"}):
        sim.faults.add("queue_full", match=match, count=None)
        other = {"model": None} if "model" in match else {}
        assert (await ask(sim, post(chat("short", **other)))).status == 200
        assert (await ask(sim, post(chat("short", stream=True), x_request_id="r"))).status == 503
        sim.faults.clear()


def test_every_fault_is_tried_here():
    with open(__file__) as own:
        text = own.read()
    assert [name for name in NAMES if f'"{name}' not in text] == []
