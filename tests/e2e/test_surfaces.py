from __future__ import annotations

import json

import pytest

from app.simulator import Simulator
from tests.house import chat, running

QUICK = {"ttft": 0.005, "itl": 0.001}


@pytest.fixture
async def gateway():
    async with running([Simulator(**QUICK)]) as gateway:
        yield gateway


@pytest.fixture
async def pooling():
    async with running([Simulator(mode="pooling")]) as gateway:
        yield gateway


def truth(gateway):
    return gateway.simulators[0].truth.last


def events(text):
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines]


async def assert_row_is_the_truth(gateway):
    row = await gateway.row()
    assert (row.state, row.usage_source) == ("settled", "upstream")
    assert (row.prompt_tokens, row.completion_tokens) == (
        truth(gateway).prompt_tokens,
        truth(gateway).generated,
    )


async def test_messages_answer(gateway):
    answer = await gateway.post("/v1/messages", chat("hello", max_tokens=50))
    assert answer.status_code == 200
    body = answer.json()
    assert body["content"][0]["text"].startswith("Hello")
    assert body["usage"]["output_tokens"] == truth(gateway).generated
    await assert_row_is_the_truth(gateway)


async def test_messages_stream_ends_with_their_own_last_event(gateway):
    answer = await gateway.post("/v1/messages", chat("hello", max_tokens=50, stream=True))
    assert answer.headers["content-type"].startswith("text/event-stream")
    kinds = [event["type"] for event in events(answer.text)]
    assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")
    await assert_row_is_the_truth(gateway)


async def test_rerank_answers(pooling):
    body = {"model": "tiny", "query": "a", "documents": ["a", "b", "c"]}
    answer = await pooling.post("/v1/rerank", body)
    assert len(answer.json()["results"]) == 3
    assert (await pooling.row()).prompt_tokens == truth(pooling).prompt_tokens


async def test_score_answers(pooling):
    answer = await pooling.post("/v1/score", {"model": "tiny", "text_1": "a", "text_2": ["a", "b"]})
    assert len(answer.json()["data"]) == 2
    assert (await pooling.row()).prompt_tokens == truth(pooling).prompt_tokens


async def test_tokens_go_there_and_back(gateway):
    tokens = (await gateway.post("/tokenize", {"model": "tiny", "prompt": "hello there"})).json()
    assert tokens["count"] == len(tokens["tokens"])
    answer = await gateway.post("/detokenize", {"model": "tiny", "tokens": tokens["tokens"]})
    assert answer.json() == {"prompt": "hello there"}


async def test_surface_the_endpoint_does_not_have_is_refused_and_says_nothing_against_it(gateway):
    """A vLLM that serves chat knows no embeddings: who asks for them all the same cannot close it to others."""
    for _ in range(10):
        answer = await gateway.post("/v1/embeddings", {"model": "tiny", "input": "a"})
        assert answer.status_code == 404
        assert answer.json()["error"]["message"]
    assert gateway.house.fleet.endpoints["gpu-a"].breaker.state == "closed"
    assert (await gateway.ask()).status_code == 200


async def test_answer_carries_the_callers_id_and_the_endpoint_ours(gateway):
    answer = await gateway.ask(headers={"x-request-id": "mine-1"})
    assert answer.headers["x-request-id"] == "mine-1"
    assert answer.headers["x-content-type-options"] == "nosniff"
    row = await gateway.row()
    assert row.client_request_id == "mine-1"
    assert truth(gateway).request_id == row.call_id != "mine-1"


async def test_callers_credentials_never_reach_an_endpoint(gateway):
    await gateway.ask(
        headers={"cookie": "a=b", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    )
    headers = dict(truth(gateway).headers)
    assert b"authorization" not in headers
    assert b"cookie" not in headers
    assert headers[b"traceparent"].startswith(b"00-0af7")
    assert headers[b"accept-encoding"] == b"identity"


async def test_streams_are_not_to_be_cached_or_buffered(gateway):
    answer = await gateway.ask(stream=True)
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.text.endswith("data: [DONE]\n\n")
