"""The first moments of a gateway, and what its probes say of it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from urllib.parse import urlsplit

import pytest

from app.simulator import Simulator
from tests.faults.lives import life
from tests.gateways import customer
from tests.house import Refusing, at, running
from tests.rawcaller import RawCaller
from tests.redis_server import serving
from tests.supervised import SOON, operator, pids, supervised, wait

SLACK = 3.0
"""Seconds that a busy machine may take beyond what is promised; the figures are printed."""


async def probed(gateway):
    return {
        path: (await gateway.client.get(path)).status_code
        for path in ("/livez", "/readyz", "/health", "/ready")
    }


async def test_l06_a_gateway_without_an_endpoint_lives_and_is_ready():
    """All replicas would be out at once, and restarted for nothing."""
    refusing = Refusing()
    async with running([refusing]) as gateway:
        assert set((await probed(gateway)).values()) == {200}
        answer = await gateway.ask()
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_healthy_endpoint")
    refusing.close()


async def test_l06_a_gateway_that_ends_lives_and_is_unready(tmp_path):
    async with life(tmp_path, server={"lame_duck": 1, "drain": 20}) as subject:
        (caller,) = await subject.begun("150 tokens")
        subject.tell(signal.SIGTERM)
        seen = set()
        async with asyncio.timeout(SOON):
            while (await subject.ask()).status == 200:
                pass
            for path in ("/livez", "/readyz"):
                answer = await subject.get(path)
                seen.add((path, answer.status, tuple(json.loads(answer.body).get("reasons", ()))))
        assert seen == {("/livez", 200, ()), ("/readyz", 503, ("draining",))}
        assert b"[DONE]" in await caller.answer_rest()
        assert await subject.ended() == 0


@pytest.mark.parametrize("models", [None, ["tiny"]], ids=["models to be learnt", "models configured"])
async def test_l07_gateway_starts_without_endpoints_and_serves_as_soon_as_one_is_there(models):
    """With the pace of the defaults."""
    refusing = Refusing()
    row = at(refusing, **({} if models is None else {"models": models}))
    async with running([row], health={"interval": 5, "interval_down": 1}) as gateway:
        for _ in range(3):
            answer = await gateway.ask("short")
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_healthy_endpoint")
            assert int(answer.headers["retry-after"]) >= 1
        refusing.close()
        simulator = await Simulator(ttft=0.001).start(port=urlsplit(refusing.url).port)
        began = time.monotonic()
        while (await gateway.ask("short")).status_code != 200:
            assert time.monotonic() - began < 2 + SLACK
        print(f"served {time.monotonic() - began:.2f} s after the endpoint came up")
        await simulator.stop()


@pytest.mark.long
async def test_l08_requests_during_the_start_are_served_or_told_when_to_come_again(tmp_path):
    port = None
    async with life(tmp_path) as subject:
        customer, port = subject.customer, subject.gateway.data
    seen, began = [], time.monotonic()
    enough = asyncio.Event()

    async def hammer():
        while not enough.is_set():
            try:
                caller = RawCaller(*await asyncio.open_connection("127.0.0.1", port))
            except OSError:
                seen.append("refused")
                await asyncio.sleep(0.002)
                continue
            caller.say(customer.request())
            answer = await caller.answer()
            caller.hang_up()
            seen.append(answer.status)
            assert answer.status == 200 or int(answer.headers["retry-after"]) >= 1

    hammering = asyncio.create_task(hammer())
    async with life(tmp_path, server={"port": port}):
        async with asyncio.timeout(SOON):
            while seen.count(200) < 20:
                await asyncio.sleep(0.01)
        enough.set()
        await hammering
    first = next(place for place, what in enumerate(seen) if what != "refused")
    print(f"refused {first} times, then {seen[first : first + 3]}, {time.monotonic() - began:.1f} s in all")
    assert "refused" not in seen[first:]
    assert set(seen[first:]) <= {200, 503}


@pytest.mark.long
async def test_l16_killed_worker_is_replaced_in_two_seconds_and_its_places_come_back(tmp_path):
    engine = Simulator(ttft=0.001, itl=0.01)
    async with engine:
        with serving() as redis:
            began = time.monotonic()
            made = supervised(
                tmp_path, [engine.url], redis_url=redis.url, logging={"access": {"enabled": False}}
            )
            gateway = await asyncio.to_thread(made.__enter__)
            try:
                await _kill_one(gateway, within=max(2.0, time.monotonic() - began))
            finally:
                await asyncio.to_thread(made.__exit__, None, None, None)


async def _kill_one(gateway, within):
    """`within`: a worker starts faster than all of them did."""
    buyer = await customer(gateway, concurrency=1)
    caller = RawCaller(*await asyncio.open_connection("127.0.0.1", gateway.data))
    caller.say(buyer.request("forever", stream=True))
    await caller.reader.readuntil(b'"content":"')
    async with operator(gateway) as ops:
        (row,) = (await ops.get("/admin/v1/inflight")).json()["data"]
    before = await asyncio.to_thread(pids, gateway)
    assert await _status(gateway, buyer) == 429
    os.kill(before[row["worker"]], signal.SIGKILL)
    killed = time.monotonic()
    await asyncio.to_thread(
        wait, lambda: pids(gateway).get(row["worker"], before[row["worker"]]) != before[row["worker"]]
    )
    replaced = time.monotonic() - killed
    while await _status(gateway, buyer) != 200:
        assert time.monotonic() - killed < SOON
        await asyncio.sleep(0.1)
    print(f"replaced after {replaced:.1f} s, its place given back after {time.monotonic() - killed:.1f} s")
    assert replaced < within
    caller.hang_up()


async def _status(gateway, buyer):
    caller = RawCaller(*await asyncio.open_connection("127.0.0.1", gateway.data))
    caller.say(buyer.request("short"))
    try:
        return (await caller.answer()).status
    except (OSError, EOFError):
        return None
    finally:
        caller.hang_up()
