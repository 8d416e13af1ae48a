from __future__ import annotations

import asyncio

import pytest

from app.simulator import Simulator
from tests.house import calls, chat, running, until

QUICK = {"ttft": 0.002, "itl": 0.001}

SURFACES = {
    "chat": ("/v1/chat/completions", chat("20 tokens")),
    "chat, two choices": ("/v1/chat/completions", chat("20 tokens", n=2, temperature=1)),
    "chat, cut short": ("/v1/chat/completions", chat("forever", max_tokens=7)),
    "completions": ("/v1/completions", {"model": "tiny", "prompt": "20 tokens", "max_tokens": 9}),
    "completions, two prompts": (
        "/v1/completions",
        {"model": "tiny", "prompt": ["hello", "count to something"], "max_tokens": 9},
    ),
    "responses": ("/v1/responses", {"model": "tiny", "input": "20 tokens"}),
    "messages": ("/v1/messages", chat("20 tokens", max_tokens=30)),
}


def truth(gateway):
    (record,) = calls(*gateway.simulators)
    return record


@pytest.fixture
async def gateway():
    async with running([Simulator(**QUICK)]) as gateway:
        yield gateway


async def assert_exact(gateway):
    row, real = await gateway.row(), truth(gateway)
    assert (row.state, row.usage_source, row.status) == ("settled", "upstream", 200)
    assert (row.prompt_tokens, row.completion_tokens) == (real.prompt_tokens, real.generated)
    assert row.wasted_tokens == 0
    assert (row.endpoint, row.served_model, row.model) == ("gpu-a", "tiny", "tiny")
    assert 0 < row.ttft_s <= row.elapsed_s


@pytest.mark.parametrize("name", SURFACES)
async def test_whole_answers_are_booked_as_the_engine_counted_them(gateway, name):
    path, body = SURFACES[name]
    assert (await gateway.post(path, body)).status_code == 200
    await assert_exact(gateway)


@pytest.mark.parametrize("name", SURFACES)
async def test_streams_are_booked_as_the_engine_counted_them(gateway, name):
    path, body = SURFACES[name]
    answer = await gateway.post(path, body | {"stream": True})
    assert answer.status_code == 200
    assert '"error"' not in answer.text
    if path in ("/v1/chat/completions", "/v1/completions"):
        assert '"usage"' not in answer.text
    await assert_exact(gateway)


@pytest.mark.parametrize(
    "options", [{"include_usage": True}, {"include_usage": True, "continuous_usage_stats": True}]
)
async def test_streams_that_show_their_usage_are_booked_the_same(gateway, options):
    answer = await gateway.ask("20 tokens", stream=True, stream_options=options)
    shown = answer.text.count('"usage"')
    assert shown > 10 if "continuous_usage_stats" in options else shown == 1
    await assert_exact(gateway)


@pytest.mark.parametrize("name", ["chat", "completions", "responses", "messages"])
async def test_hang_up_is_booked_with_what_had_come(name):
    async with running([Simulator(ttft=0.002, itl=0.005)]) as gateway:
        path, body = SURFACES[name]
        fields = (
            {"prompt": "forever"}
            if name == "completions"
            else {"input": "forever"}
            if name == "responses"
            else {}
        )
        limit = {"max_tokens": 5000} if name in ("completions", "messages") else {}
        if not fields:
            fields = {"messages": [{"role": "user", "content": "forever"}]}
        async with gateway.client.stream(
            "POST", path, json=body | fields | limit | {"stream": True}
        ) as answer:
            async for _ in answer.aiter_bytes():
                if gateway.simulators[0].truth.last.sent >= 6:
                    break
        await until(lambda: truth(gateway).aborted is not None)
        row = await gateway.row()
        assert (row.state, row.status, row.finish) == ("settled", 499, "hang_up")
        if name in ("chat", "completions"):
            assert row.usage_source == "upstream"
            assert row.prompt_tokens == truth(gateway).prompt_tokens
        assert 4 <= row.completion_tokens <= truth(gateway).generated + 1
        assert row.wasted_tokens == row.completion_tokens


async def test_refused_calls_are_in_no_ledger_and_failed_ones_void(gateway):
    assert (await gateway.client.post("/v1/chat/completions", content=b"{")).status_code in (400, 415)
    assert (await gateway.ask(model="nope")).status_code == 404
    assert await gateway.rows() == []
    assert (await gateway.ask(temperature=9)).status_code == 400
    row = await gateway.row()
    assert (row.state, row.prompt_tokens, row.completion_tokens, row.usage_source) == ("void", 0, 0, None)


async def test_answer_without_usage_is_booked_all_the_same(gateway):
    gateway.simulators[0].faults.add("no_usage")
    assert (await gateway.ask("20 tokens")).status_code == 200
    row = await gateway.row()
    assert (row.state, row.usage_source) == ("settled", "estimated")
    assert row.prompt_tokens > 0


@pytest.mark.parametrize("number", [-5, 1e30, "many", None])
async def test_u37_forged_usage_is_never_booked(gateway, number):
    gateway.simulators[0].faults.add("usage", usage={"prompt_tokens": number, "completion_tokens": number})
    await gateway.ask("20 tokens", stream=True)
    row = await gateway.row()
    assert row.prompt_tokens >= 0
    assert 0 <= row.completion_tokens < 1000


async def test_many_calls_at_once_are_all_booked_and_their_sum_is_right():
    fleet = [Simulator(**QUICK), Simulator(**QUICK)]
    async with running(fleet) as gateway:
        answers = await asyncio.gather(
            *(gateway.ask(f"{number} tokens", stream=number % 2 == 0) for number in range(10, 110))
        )
        assert {answer.status_code for answer in answers} == {200}
        rows = await gateway.rows()
        assert len({row.call_id for row in rows}) == 100
        real = {record.request_id: record for simulator in fleet for record in simulator.truth.records}
        for row in rows:
            assert (row.prompt_tokens, row.completion_tokens) == (
                real[row.call_id].prompt_tokens,
                real[row.call_id].generated,
            )


async def test_row_is_there_before_the_caller_has_its_last_byte(gateway):
    """Whoever saw the end of an answer finds it in the ledger, however soon it looks."""
    for stream in (False, True):
        await gateway.ask("short", stream=stream)
        assert gateway.house.storage.ledger.pending == 0


async def test_price_is_frozen_in_the_row():
    prices = {"tiny": {"price": {"prompt": 1.0, "cached": 0.5, "completion": 2.0}}}
    async with running([Simulator(**QUICK)], model_config=prices) as gateway:
        await gateway.ask("20 tokens")
        row = await gateway.row()
        assert row.cost == pytest.approx((row.prompt_tokens * 1.0 + row.completion_tokens * 2.0) / 1e6)


async def test_limits_are_charged_with_the_truth_and_not_with_the_reservation(gateway):
    await gateway.limit(tokens_per_minute=2000)
    answer = await gateway.ask("20 tokens", max_tokens=1000)
    used = answer.json()["usage"]["total_tokens"]
    after = await gateway.ask("short", max_tokens=1)
    left = int(after.headers["x-ratelimit-remaining-tokens"])
    assert 2000 - used - 60 < left <= 2000 - used + 60
