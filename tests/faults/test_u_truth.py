"""What Sluice believes about an engine, against what the engine says of itself."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import asynccontextmanager

import pytest

from app.simulator import Simulator
from app.upstream.explain import candidates
from tests.house import PATIENT, calls, running, until

QUICK = {"ttft": 0.001, "itl": 0.0005}
CHAT = "/v1/chat/completions"
PROBES = {"interval": 0.2, "interval_down": 0.1, "timeout": 0.5}
SCRAPES = {"interval": 0.2, "timeout": 2}
TURNS = {"strategy": "round_robin"}


def hits(simulator: Simulator) -> int:
    return len(calls(simulator))


def row(gateway, name: str = "gpu-a") -> dict:
    return next(row for row in gateway.house.fleet.status()["endpoints"] if row["name"] == name)


def state(gateway, name: str = "gpu-a") -> str:
    return row(gateway, name)["state"]


def asked_by_probes(simulator: Simulator) -> int:
    return sum(not record.request_id for record in simulator.truth.records)


@asynccontextmanager
async def load(gateway, callers: int = 4, **fields):
    """So many callers that ask without a pause; their statuses."""
    seen: Counter = Counter()
    over = asyncio.Event()

    async def ask():
        while not over.is_set():
            reply = await gateway.ask("short", **fields)
            whole = not fields.get("stream") or reply.text.endswith("data: [DONE]\n\n")
            seen[reply.status_code if reply.status_code != 200 or whole else "cut"] += 1

    asking = [asyncio.create_task(ask()) for _ in range(callers)]
    try:
        yield seen
    finally:
        over.set()
        await asyncio.gather(*asking)


async def more(seen: Counter, count: int) -> None:
    goal = seen.total() + count
    await until(lambda: seen.total() >= goal)


@pytest.mark.parametrize(("stop", "word"), [("pause", "paused"), ("hang", "stuck")])
async def test_u44_engine_that_hangs_is_out_long_before_its_calls_time_out(stop: str, word: str):
    """Its health is good, its streams get their heads; two minutes would be allowed for the first event."""
    fleet = [Simulator(**QUICK, dev_mode=stop == "pause"), Simulator(**QUICK)]
    async with running(fleet, resilience=PATIENT, health=PROBES, scrape=SCRAPES) as gateway:
        async with load(gateway, callers=8, stream=True) as seen:
            await more(seen, 20)
            fleet[0].pause()
            hung = time.monotonic()
            await until(lambda: state(gateway) == word, within=10)
            took, suffering = time.monotonic() - hung, row(gateway)["inflight"]
            before = hits(fleet[0])
            await more(seen, 50)
            health = asked_by_probes(fleet[0])
            await until(lambda: asked_by_probes(fleet[0]) > health)
            assert (state(gateway), row(gateway)["health"]) == (word, "up"), "health alone never readmits"
            assert hits(fleet[0]) == before
            fleet[0].resume()
            await until(lambda: state(gateway) == "up")
            await until(lambda: hits(fleet[0]) > before)
        print(f"{word} after {took:.1f} s with {suffering} of 8 callers there; then none")
        assert suffering <= 8
        assert set(seen) == {200}, "those that were there have waited, and were served"


async def test_u44_one_timeout_is_enough_to_ask_the_engine_itself():
    fleet = [Simulator(**QUICK), Simulator(**QUICK)]
    fleet[0].faults.add("head_then_silence", count=None, match={"path": CHAT})
    fleet[0].faults.add("silent", count=None, match={"path": "/v1/completions"})
    timeouts = {"timeouts": {"first_byte": 0.3}}
    slowly = {"interval": 60, "interval_down": 0.1, "timeout": 0.5}
    async with running(fleet, resilience=timeouts, health=slowly, routing=TURNS) as gateway:
        statuses, began = Counter(), time.monotonic()
        while state(gateway) != "stuck":
            statuses[(await gateway.ask("short", stream=True)).status_code] += 1
        assert statuses[504] <= 3, "those that came while it was asked"
        assert time.monotonic() - began < 10
        for _ in range(10):
            assert (await gateway.ask("short", stream=True)).status_code == 200
        assert hits(fleet[0]) == statuses[504]
        fleet[0].faults.clear()
        await until(lambda: gateway.house.fleet.endpoints["gpu-a"].available)
        while state(gateway) != "up":
            assert (await gateway.ask("short", stream=True)).status_code == 200


async def test_u44_endpoint_that_passes_every_probe_and_fails_every_call_is_set_aside():
    """Probes let it back again and again, until that has happened too often."""
    half_dead, _ = fleet = [Simulator(**QUICK), Simulator(**QUICK)]
    half_dead.faults.add("plain_500", count=None, match={"path": CHAT})
    async with running(fleet, health=PROBES) as gateway:
        async with load(gateway) as seen:
            await until(lambda: row(gateway)["ejected"])
            await more(seen, 10)  # those that were under way
            before = hits(half_dead)
            await more(seen, 100)
        assert row(gateway)["eject_reason"] == "relapses"
        assert hits(half_dead) == before
        print(f"{before} hits; {seen.total() - seen[200]} of {seen.total()} calls failed")
        assert before <= 4 * (5 + 4), "four openings, with four callers under way at each"


async def test_heads_without_an_event_are_no_progress():
    """vLLM sends them before it has scheduled anything: whoever sends nothing else is to blame."""
    (hanging,) = fleet = [Simulator(**QUICK)]
    hanging.faults.add("head_then_silence", count=None, match={"path": CHAT})
    hanging.faults.add("silent", count=None, match={"path": "/v1/completions"})
    patient = {"interval": 60, "interval_down": 60, "timeout": 60}
    async with running(fleet, resilience={"timeouts": {"first_byte": 0.3}}, health=patient) as gateway:
        statuses = [(await gateway.ask("short", stream=True)).status_code for _ in range(4)]
        assert statuses == [504, 504, 504, 503]
        assert gateway.house.fleet.endpoints["gpu-a"].breaker.opened_by == "failure"


async def test_long_answers_in_one_piece_are_not_taken_for_a_hang():
    """No byte comes for seconds; the engine's own counters move, and it is not even asked."""
    slow = Simulator(ttft=0.01, itl=0.02)
    async with running([slow], resilience=PATIENT, health=PROBES, scrape=SCRAPES) as gateway:
        words = []
        gateway.house.fleet.subscribe(lambda endpoint, word: words.append(word))
        answers = await asyncio.gather(*(gateway.ask("150 tokens") for _ in range(3)))
        assert {answer.status_code for answer in answers} == {200}
        assert "silent" in words
        assert not {"stuck", "paused", "down"} & set(words)


async def test_sleeping_engine_is_left_alone_until_it_is_awake():
    fleet = [Simulator(**QUICK), Simulator(**QUICK)]
    async with running(fleet, scrape=SCRAPES, routing=TURNS) as gateway:
        assert (await gateway.ask("short")).status_code == 200
        fleet[0].sleep()
        await until(lambda: state(gateway) == "asleep")
        before = hits(fleet[0])
        for _ in range(6):
            assert (await gateway.ask("short")).status_code == 200
        assert hits(fleet[0]) == before
        assert candidates(gateway.house.fleet, "tiny")[0]["excluded"] == "asleep"
        fleet[0].wake()
        await until(lambda: state(gateway) == "up")
        while hits(fleet[0]) == before:
            assert (await gateway.ask("short")).status_code == 200


async def test_engine_that_ends_in_good_order_costs_nobody_a_call():
    """As with --shutdown-timeout: what runs is finished, what comes gets a 500, then the port is closed."""
    fleet = [Simulator(**QUICK), Simulator(**QUICK)]
    async with running(fleet, health=PROBES, routing=TURNS) as gateway:
        streams = [asyncio.create_task(gateway.ask("100 tokens", stream=True)) for _ in range(4)]
        await until(lambda: fleet[0].truth.active)
        fleet[0].terminate("drain", 2.5)
        async with load(gateway) as seen:
            await until(lambda: state(gateway) == "draining")
            before = hits(fleet[0])
            await more(seen, 20)
            assert hits(fleet[0]) == before
            await fleet[0].ended.wait()
            await until(lambda: state(gateway) == "down")
            await fleet[0].restart()
            await until(lambda: state(gateway) == "up")
            await until(lambda: hits(fleet[0]) > 0)
        assert set(seen) == {200}
        for stream in streams:
            assert (await stream).text.endswith("data: [DONE]\n\n")


async def test_u48_flapping_endpoint_is_set_aside_and_costs_next_to_no_call():
    fleet = [Simulator(**QUICK), Simulator(**QUICK)]
    async with running(fleet, resilience=PATIENT, health=PROBES | {"unhealthy_after": 50}) as gateway:
        breaker = gateway.house.fleet.endpoints["gpu-a"].breaker
        flaps = 0
        async with load(gateway) as seen:
            while not row(gateway)["ejected"]:
                flaps += 1
                fleet[0].refuse()
                fleet[0].hang_up()
                await until(lambda: breaker.state == "open")
                await fleet[0].accept()
                await until(lambda: breaker.state == "closed" or row(gateway)["ejected"])
            assert row(gateway)["eject_reason"] == "relapses"
            assert 27 <= row(gateway)["ejected_for"] + 3 <= 36
            before = hits(fleet[0])
            await more(seen, 100)
            assert hits(fleet[0]) == before
            gateway.house.fleet.restore("gpu-a")
            await until(lambda: hits(fleet[0]) > before)
        wrong = seen.total() - seen[200]
        print(f"{flaps} flaps; {wrong} of {seen.total()} calls failed")
        assert wrong * 100 < seen.total()


async def test_u49_restarted_endpoint_that_is_cold_gets_no_herd():
    """Ten times the time to the first token at first; sixteen callers."""
    warm, cold = 0.03, 0.3
    fleet = [Simulator(ttft=warm, itl=0.001), Simulator(ttft=warm, itl=0.001)]
    resilience = PATIENT | {"ejection": {"slow_start": 3}}
    async with running(fleet, resilience=resilience, health=PROBES) as gateway:
        endpoint = gateway.house.fleet.endpoints["gpu-a"]
        highest: dict[float, int] = {}

        async with load(gateway, callers=16) as seen:
            await fleet[0].stop()
            await until(lambda: not endpoint.available)
            await until(lambda: not endpoint.inflight)
            fleet[0].options = fleet[0].options.model_copy(update={"ttft": cold})
            await fleet[0].restart()
            back = time.monotonic()
            first = None
            while endpoint.ramp.share < 1 or endpoint.breaker.state != "closed":
                share = endpoint.ramp.share if endpoint.breaker.state == "closed" else 0.0
                highest[share] = max(highest.get(share, 0), endpoint.inflight)
                if first is None and hits(fleet[0]):
                    first = time.monotonic() - back
                await asyncio.sleep(0.001)
            full = time.monotonic() - back
            fleet[0].adjust(ttft=warm)
            await until(lambda: endpoint.inflight >= 6)
        assert set(seen) == {200}
        print(f"first call after {first:.2f} s, whole share after {full:.1f} s; most in flight {highest}")
        for share, most in highest.items():
            assert most <= max(5, 16 * share / (1 + share) + 2)
        assert first is not None
        assert first < 2


async def test_u53_the_last_endpoint_is_protected_by_its_bulkhead():
    """Three of four refuse: no panic reaches them, and the fourth has never more than its places."""
    fleet = [Simulator(ttft=0.01, itl=0.001) for _ in range(4)]
    limits = {"bulkhead": {"max_concurrent_calls": 4}, "queue": {"max_wait": 0.2, "max_length": 4}}
    async with running(fleet, resilience=PATIENT | limits, health=PROBES) as gateway:
        for simulator in fleet[:3]:
            await simulator.stop()
        endpoint = gateway.house.fleet.endpoints["gpu-d"]
        most = 0
        async with load(gateway, callers=24) as seen:
            while seen.total() < 300:
                most = max(most, endpoint.inflight)
                await asyncio.sleep(0.001)
        assert set(seen) == {200, 503}
        assert most == 4
        assert not gateway.house.fleet.pool("tiny").panic
        assert max(len(engine.running) for engine in fleet[3].instance.engines) <= 4


async def test_u53_with_most_of_a_pool_set_aside_all_of_it_is_used():
    """Set aside, not broken: then worse answers are better than a crushed endpoint."""
    fleet = [Simulator(**QUICK) for _ in range(4)]
    async with running(fleet, routing=TURNS) as gateway:
        for name in ("gpu-a", "gpu-b"):
            gateway.house.fleet.eject(name)
        for _ in range(8):
            assert (await gateway.ask("short")).status_code == 200
        assert [hits(simulator) for simulator in fleet] == [0, 0, 4, 4]
        gateway.house.fleet.eject("gpu-c")
        for _ in range(8):
            assert (await gateway.ask("short")).status_code == 200
        assert gateway.house.fleet.status()["models"]["tiny"]["panic"]
        assert [hits(simulator) for simulator in fleet] == [2, 2, 6, 6]


async def test_slow_endpoint_is_set_aside_and_comes_back():
    fleet = [Simulator(ttft=0.4, itl=0.001), Simulator(**QUICK), Simulator(**QUICK)]
    quickly = {"interval": 1, "minimum_calls": 4, "slow_floor": 0.2, "base_time": 1, "slow_start": 0.5}
    async with running(fleet, resilience={"ejection": quickly}, routing=TURNS) as gateway:
        words = []
        gateway.house.fleet.subscribe(lambda endpoint, word: words.append((endpoint.name, word)))
        async with load(gateway, callers=6, stream=True) as seen:
            await until(lambda: state(gateway) == "ejected")
            assert row(gateway)["eject_reason"] == "slow"
            fleet[0].adjust(ttft=0.001)
            before = hits(fleet[0])
            await until(lambda: ("gpu-a", "readmitted") in words)
            await until(lambda: hits(fleet[0]) > before)
        assert set(seen) == {200}
        assert {name for name, word in words if word == "ejected"} == {"gpu-a"}


async def test_streams_that_break_one_after_another_set_an_endpoint_aside():
    """A quarter of its last calls: too little for the breaker, too much for those who are cut."""
    fleet = [Simulator(**QUICK), Simulator(**QUICK)]
    async with running(fleet, routing=TURNS) as gateway:
        for _ in range(40):
            assert (await gateway.ask("short", stream=True)).text.endswith("data: [DONE]\n\n")
        fleet[0].faults.add("rst", after_tokens=2, count=None, match={"path": CHAT})
        cut = 0
        for _ in range(20):
            reply = await gateway.ask("9 tokens", stream=True)
            cut += not reply.text.endswith("data: [DONE]\n\n")
        assert 1 <= cut <= 5, "one that breaks before its first event is mended elsewhere"
        assert (row(gateway)["breaker"], row(gateway)["eject_reason"]) == ("closed", "failures")


@pytest.mark.parametrize("busy", [{"fault": "rate_limited", "retry_after": "1"}, {"fault": "queue_full"}])
async def test_u30_u31_busy_endpoint_is_skipped_and_never_blamed(busy: dict):
    fleet = [Simulator(**QUICK), Simulator(**QUICK)]
    async with running(fleet, routing=TURNS) as gateway:
        fleet[0].faults.add(**busy, count=None)
        for _ in range(30):
            assert (await gateway.ask("short")).status_code == 200
        assert hits(fleet[0]) <= 3
        assert (row(gateway)["breaker"], row(gateway)["ejected"]) == ("closed", False)
        fleet[1].faults.add(**busy, count=None)
        answer = await gateway.ask("short")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
        assert int(answer.headers["retry-after"]) >= 1
        for simulator in fleet:
            simulator.faults.clear()
        await until(lambda: state(gateway) == state(gateway, "gpu-b") == "up")
        assert (await gateway.ask("short")).status_code == 200


async def test_u34_model_that_one_endpoint_lost_is_asked_of_the_other_until_it_is_listed_again():
    fleet = [Simulator(**QUICK), Simulator(**QUICK)]
    async with running(fleet, routing=TURNS, health=PROBES) as gateway:
        fleet[0].faults.add("model_unloaded", count=None, match={"path": CHAT})
        for _ in range(4):
            assert (await gateway.ask("short")).status_code == 200
        assert row(gateway)["breaker"] == "closed"
        fleet[0].faults.clear()
        before = hits(fleet[0])
        while hits(fleet[0]) == before:
            assert (await gateway.ask("short")).status_code == 200
