from __future__ import annotations

import asyncio
import json
from collections import Counter

import pytest

from app.simulator import Simulator
from tests.house import PATIENT, Refusing, calls, chat, running, until

QUICK = {"ttft": 0.001, "itl": 0.0005}
CHAT = "/v1/chat/completions"


def chats(simulator):
    return len(calls(simulator))


async def ask(gateway, calls, callers, streams=lambda number: False):
    """So many calls over so many connections; their statuses, "whole" where a stream ended with [DONE]."""
    numbers, seen = iter(range(calls)), Counter()

    async def work():
        caller = await gateway.caller()
        for number in numbers:
            stream = streams(number)
            caller.say(gateway.request("short", stream=stream))
            answer = await caller.answer()
            if answer.status == 200 and stream:
                assert answer.body.endswith(b"data: [DONE]\n\n")
            elif answer.status == 200:
                assert json.loads(answer.body)["choices"][0]["finish_reason"] == "stop"
            seen[answer.status] += 1
        caller.hang_up()

    await asyncio.gather(*(work() for _ in range(callers)))
    return seen


@pytest.mark.parametrize("dead", [1, 2, 3])
async def test_u01_every_call_succeeds_while_one_of_four_endpoints_lives(dead):
    refusing = [Refusing() for _ in range(dead)]
    fleet = [*refusing, *(Simulator(**QUICK) for _ in range(4 - dead))]
    async with running(fleet, resilience=PATIENT) as gateway:
        seen = await ask(gateway, 1000, 16, streams=lambda number: number % 10 == 0)
        assert seen == {200: 1000}
        await gateway.stored()
        (summary,) = await gateway.house.storage.reports.summary()
        assert (summary["requests"], summary["errors"]) == (1000, 0)
    for endpoint in refusing:
        endpoint.close()


async def test_every_call_succeeds_before_the_first_probe_has_told_who_lives():
    """Nothing is known of anybody: three of four refuse, and sixteen callers come at once."""
    refusing = [Refusing() for _ in range(3)]
    rarely = {"interval": 60, "interval_down": 60}
    async with running([*refusing, Simulator(**QUICK)], resilience=PATIENT, health=rarely) as gateway:
        assert await ask(gateway, 64, 16) == {200: 64}
    for endpoint in refusing:
        endpoint.close()


async def test_u01_u52_all_refusing_is_a_quick_503_that_may_be_retried():
    refusing = [Refusing() for _ in range(2)]
    async with running(refusing, model_config={"tiny": {}}) as gateway:
        async with asyncio.timeout(1):
            answer = await gateway.ask()
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "no_healthy_endpoint"
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.headers["x-should-retry"] == "true"
        assert [row.state for row in await gateway.rows()] == ["void"]
    for endpoint in refusing:
        endpoint.close()


@pytest.mark.long
async def test_u03_endpoint_that_hangs_is_seen_by_five_calls_at_most():
    """Sixteen callers, least_load: the silent one fills up to its share and is left alone once it is open."""
    hanging = Simulator(**QUICK)
    hanging.faults.add("silent", count=None)
    fleet = [hanging, *(Simulator(ttft=0.02, itl=0.002) for _ in range(3))]
    timeouts = {**PATIENT["timeouts"], "first_byte": 2}
    async with running(fleet, resilience=PATIENT | {"timeouts": timeouts}) as gateway:
        endpoint = gateway.house.fleet.endpoints["gpu-a"]
        attempts = gateway.house.hearing.calls.attempts
        work = asyncio.create_task(ask(gateway, 600, 16, streams=lambda number: True))
        await until(lambda: endpoint.breaker.state == "open")
        gateway.house.hearing.observers.flush()
        ended = sum(count for (name, *_), count in attempts.items() if name == "gpu-a")
        at_opening = ended + endpoint.inflight
        seen = await work
        print(f"{chats(hanging)} of 600 calls reached the endpoint that hangs: {dict(seen)}")
        assert chats(hanging) == at_opening
        assert chats(hanging) <= 5
        assert seen == {200: 600 - chats(hanging), 504: chats(hanging)}


@pytest.mark.long
async def test_u28_endpoint_that_answers_500_is_seen_by_five_calls_at_most():
    broken = Simulator(**QUICK)
    broken.faults.add("plain_500", count=None)
    async with running([broken, Simulator(**QUICK)], resilience=PATIENT) as gateway:
        seen = await ask(gateway, 200, 1)
        assert chats(broken) == 5
        assert gateway.house.fleet.endpoints["gpu-a"].breaker.state == "open"
        assert seen[200] >= 200 - 5
        assert set(seen) <= {200, 502}


async def test_u29_half_of_the_answers_being_500_opens_the_breaker_too():
    flaky = Simulator(**QUICK)
    async with running([flaky, Simulator(**QUICK)], routing={"strategy": "round_robin"}) as gateway:
        opened = asyncio.Event()
        gateway.house.fleet.subscribe(lambda endpoint, word: word == "open" and opened.set())
        while not opened.is_set() and chats(flaky) < 50:
            before = chats(flaky)
            flaky.faults.add("plain_500", match={"path": CHAT})
            while chats(flaky) < before + 2 and not opened.is_set():
                await gateway.ask("short")
            flaky.faults.clear()
        assert opened.is_set()
        assert chats(flaky) <= 20


async def test_u50_open_breaker_lets_only_its_probes_through():
    broken = Simulator(**QUICK)
    broken.faults.add("plain_500", count=None)
    breaker = {"wait_in_open": 0.2, "max_wait_in_open": 0.2, "half_open_calls": 3}
    async with running([broken, Simulator(**QUICK)], resilience={"breaker": breaker}) as gateway:
        words = []
        gateway.house.fleet.subscribe(lambda endpoint, word: words.append((endpoint.name, word)))
        while words.count(("gpu-a", "open")) < 4:
            await ask(gateway, 32, 16)
        probed = words.count(("gpu-a", "half_open"))
        assert probed >= 3
        assert chats(broken) <= 5 + 3 * probed + 16  # the first sixteen callers come before anything is known
        broken.faults.clear()
        await until(lambda: gateway.house.fleet.endpoints["gpu-a"].breaker.state != "open")
        while gateway.house.fleet.endpoints["gpu-a"].breaker.state != "closed":
            assert set(await ask(gateway, 8, 2)) == {200}


async def test_u51_probe_whose_caller_leaves_decides_nothing():
    broken = Simulator(**QUICK)
    broken.faults.add("plain_500", count=None)
    breaker = {"wait_in_open": 0.1, "max_wait_in_open": 0.1, "half_open_calls": 1}
    async with running([broken], resilience={"breaker": breaker, "retry": {"max_attempts": 1}}) as gateway:
        gate = gateway.house.fleet.endpoints["gpu-a"].breaker
        while gate.state != "open":
            await gateway.ask()
        broken.faults.clear()
        broken.faults.add("silent", count=1, match={"path": CHAT})
        seen = chats(broken)
        await until(lambda: gate.state == "half_open")
        caller = await gateway.caller()
        caller.say(gateway.request())
        await until(lambda: chats(broken) == seen + 1)
        assert not gate.ready
        caller.hang_up()
        await until(lambda: gate.ready)
        assert (await gateway.ask()).status_code == 200
        assert gate.state == "closed"


async def test_u32_bad_requests_never_open_a_breaker():
    async with running([Simulator(**QUICK)]) as gateway:
        for _ in range(20):
            answer = await gateway.client.post(CHAT, json=chat(temperature=5))
            assert answer.status_code == 400
        assert gateway.house.fleet.endpoints["gpu-a"].breaker.state == "closed"
        assert chats(gateway.simulators[0]) == 20
        assert {row.state for row in await gateway.rows()} == {"void"}
