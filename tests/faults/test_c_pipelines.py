"""Requests sent before the answer to the one before: one at a time, each with its own key, each billed once."""

from __future__ import annotations

import asyncio
import json

import pytest

from app.simulator import Simulator
from tests.house import SOON, calls, running, until


async def all_answers(gateway, requests):
    """What a caller that pipelines gets: what the gateway did not read, it sends again over a new connection."""
    answers, connections = [], 0
    while len(answers) < len(requests):
        caller = await gateway.caller()
        connections += 1
        caller.say(b"".join(requests[len(answers) :]))
        try:
            while len(answers) < len(requests):
                answers.append(await caller.answer())
        except (asyncio.IncompleteReadError, ConnectionResetError):
            pass
        assert connections <= len(requests)
    return answers


@pytest.mark.parametrize("number", [2, 10, 100])
async def test_c13_pipelined_requests_are_answered_in_order_and_billed_once(number):
    async with running([Simulator(ttft=0.001, itl=0)]) as gateway:
        requests = [gateway.request(f"{count} tokens") for count in range(1, number + 1)]
        answers = await all_answers(gateway, requests)
        assert {answer.status for answer in answers} == {200}
        used = [json.loads(answer.body)["usage"]["completion_tokens"] for answer in answers]
        assert used == list(range(1, number + 1))
        rows = await gateway.rows()
        assert len(rows) == len(calls(*gateway.simulators)) == number
        assert sorted(row.completion_tokens for row in rows) == used


async def test_c13_each_request_of_a_connection_shows_its_own_key():
    async with running([Simulator(ttft=0.001, itl=0)]) as gateway:
        good = gateway.request("short")
        bad = good.replace(gateway.key.encode(), b"sk-" + b"x" * (len(gateway.key) - 3))
        answers = await all_answers(gateway, [good, bad, good, bad])
        assert [answer.status for answer in answers] == [200, 401, 200, 401]
        assert len(await gateway.rows()) == 2


async def test_c13_pipelined_requests_never_run_beside_each_other():
    async with running([Simulator(ttft=30)]) as gateway:
        await gateway.limit(concurrency=1)
        caller = await gateway.caller()
        caller.say(gateway.request() * 50)
        await until(lambda: gateway.simulators[0].truth.active)
        assert len(gateway.data.tasks) == 1
        caller.hang_up()
        await until(lambda: not gateway.simulators[0].truth.active)
        assert len(calls(*gateway.simulators)) == 1
        assert (await gateway.row()).finish == "hang_up"


async def test_c13_answer_of_a_stream_is_whole_although_the_next_request_came_too_early():
    async with running([Simulator(ttft=0.001, itl=0.005)]) as gateway:
        caller = await gateway.caller()
        caller.say(gateway.request("20 tokens", stream=True) + gateway.request("short"))
        async with asyncio.timeout(SOON):
            answer = await caller.answer()
        assert answer.body.endswith(b"data: [DONE]\n\n")
        assert await caller.closed() == b""
        assert len(await gateway.rows()) == 1


async def test_c13_a_limit_holds_for_requests_of_one_connection():
    async with running([Simulator(ttft=0.001, itl=0)]) as gateway:
        await gateway.limit(requests_per_minute=3)
        caller = await gateway.caller()
        statuses = []
        for _ in range(6):
            caller.say(gateway.request("short"))
            statuses.append((await caller.answer()).status)
        assert statuses == [200] * 3 + [429] * 3
        assert len(await gateway.rows()) == 3
