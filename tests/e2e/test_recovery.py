from __future__ import annotations

import asyncio
import time

from app.simulator import Simulator
from tests.house import calls, running, until

QUICK = {"ttft": 0.001, "itl": 0.0005}


async def test_respawned_endpoint_gets_calls_again_within_two_seconds():
    """At the default pace of probes: one a second while an endpoint is down."""
    fleet = [Simulator(**QUICK), Simulator(**QUICK)]
    defaults = {"interval": 5, "interval_down": 1, "timeout": 5}
    async with running(fleet, routing={"strategy": "round_robin"}, health=defaults) as gateway:
        endpoint = gateway.house.fleet.endpoints["gpu-a"]
        await fleet[0].stop()
        while endpoint.available:
            assert (await gateway.ask("short")).status_code == 200
        await fleet[0].restart()
        back = time.monotonic()
        while not calls(fleet[0]):
            assert time.monotonic() - back < 5
            assert (await gateway.ask("short")).status_code == 200
            await asyncio.sleep(0.01)
        took = time.monotonic() - back
        print(f"calls again after {took:.2f} s")
        assert took < 2


async def test_endpoint_on_probation_gets_its_share_of_sequential_calls():
    """Two endpoints and one caller: the turns must not always fall to the other one."""
    fleet = [Simulator(**QUICK), Simulator(**QUICK)]
    async with running(fleet, resilience={"ejection": {"slow_start": 0}}) as gateway:
        await fleet[0].stop()
        while gateway.house.fleet.endpoints["gpu-a"].available:
            assert (await gateway.ask("short")).status_code == 200
        await fleet[0].restart()
        await until(lambda: gateway.house.fleet.endpoints["gpu-a"].breaker.state == "half_open")
        for _ in range(20):
            assert (await gateway.ask("short")).status_code == 200
        assert gateway.house.fleet.endpoints["gpu-a"].breaker.state == "closed"
        assert len(calls(fleet[0])) >= 8


async def test_u52_fleet_that_was_down_as_a_whole_serves_again_when_it_is_back():
    fleet = [Simulator(**QUICK), Simulator(**QUICK)]
    async with running(fleet) as gateway:
        for simulator in fleet:
            await simulator.stop()
        while (
            gateway.house.fleet.endpoints["gpu-a"].available
            or gateway.house.fleet.endpoints["gpu-b"].available
        ):
            assert (await gateway.ask("short")).status_code == 503
        started = time.monotonic()
        answer = await gateway.ask("short")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_healthy_endpoint")
        assert time.monotonic() - started < 0.5
        for simulator in fleet:
            await simulator.restart()
        back = time.monotonic()
        while (await gateway.ask("short")).status_code != 200:
            assert time.monotonic() - back < 2
            await asyncio.sleep(0.01)


async def test_connections_are_used_again():
    async with running([Simulator(**QUICK)], health={"interval": 60, "interval_down": 60}) as gateway:
        before = gateway.simulators[0].truth.counters.connections_accepted
        for number in range(200):
            assert (await gateway.ask("short", stream=number % 2 == 0)).status_code == 200
        used = gateway.simulators[0].truth.counters.connections_accepted - before
        print(f"200 calls used {used} connections")
        assert used <= 2


async def test_u19_endpoint_that_closes_idle_connections_costs_no_call():
    """It closes after 50 ms, and calls come just then."""
    async with running([Simulator(**QUICK, keep_alive=0.05)]) as gateway:
        for number in range(40):
            assert (await gateway.ask("short")).status_code == 200
            await asyncio.sleep(0.045 + number % 10 / 1000)
        assert {row.attempts for row in await gateway.rows()} == {1}


async def test_u48_flapping_endpoint_costs_nobody_a_call():
    fleet = [Simulator(**QUICK), Simulator(**QUICK)]
    async with running(fleet) as gateway:
        statuses = []

        async def ask():
            while not done.is_set():
                statuses.append((await gateway.ask("short")).status_code)

        done = asyncio.Event()
        asking = [asyncio.create_task(ask()) for _ in range(4)]
        for _ in range(5):
            fleet[0].refuse()
            await until(lambda seen=len(statuses): len(statuses) > seen + 20)
            await fleet[0].accept()
            await until(lambda seen=len(statuses): len(statuses) > seen + 20)
        done.set()
        await asyncio.gather(*asking)
        assert set(statuses) == {200}


async def test_model_that_was_unloaded_is_asked_of_others_and_comes_back():
    fleet = [Simulator(**QUICK), Simulator(**QUICK)]
    async with running(fleet, routing={"strategy": "round_robin"}) as gateway:
        fleet[0].unload()
        for _ in range(6):
            assert (await gateway.ask("short")).status_code == 200
        assert len(calls(fleet[0])) <= 1
        fleet[0].load()
        await until(lambda: gateway.house.fleet.pool("tiny").choice.names == ("gpu-a", "gpu-b"))
        for _ in range(4):
            assert (await gateway.ask("short")).status_code == 200
        assert len(calls(fleet[0])) >= 2


async def test_reload_takes_an_endpoint_in_and_out_without_a_failed_call():
    fleet = [Simulator(**QUICK), Simulator(ttft=0.01, itl=0.005)]
    async with running(fleet, routing={"strategy": "round_robin"}) as gateway:
        streaming = asyncio.create_task(gateway.ask("60 tokens", stream=True))
        streaming_too = asyncio.create_task(gateway.ask("60 tokens", stream=True))
        await until(lambda: fleet[1].truth.active)
        gateway.rewrite(vllm_endpoints=[{"name": "gpu-a", "url": fleet[0].url}])
        assert gateway.house.reload() == ["gpu-a"]
        before = len(calls(fleet[1]))
        for _ in range(6):
            assert (await gateway.ask("short")).status_code == 200
        assert len(calls(fleet[1])) == before
        for answer in (await streaming, await streaming_too):
            assert answer.text.endswith("data: [DONE]\n\n")
