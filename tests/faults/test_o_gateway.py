"""Overload and greedy callers before a whole gateway (FAULTS, group O), as far as no clock decides."""

from __future__ import annotations

import asyncio
import json
import socket
import time

import pytest

from app.simulator import Simulator
from app.wire.body import decode
from app.wire.outbound import upstream_body
from app.wire.request import Policy, read
from app.wire.surfaces import SURFACES
from app.wire.tokens import measure
from tests.faults.behaviours import SSE, chunk, flooding
from tests.house import PATIENT, at, calls, running, until
from tests.rawcaller import RawCaller, post
from tests.scripted import misbehaving

CHAT = SURFACES["/v1/chat/completions"]
EVENT = b'data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"tiny","choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":null}]}\n\n'


def quick(**options) -> Simulator:
    return Simulator(**{"ttft": 0.001, "itl": 0.001} | options)


async def tenant(gateway, name: str, **fields) -> dict[str, str]:
    """Headers with a key of a new tenant."""
    made = await gateway.house.storage.tenants.create(name, **fields)
    _, secret = await gateway.house.storage.stored_keys.create(made.id)
    return {"authorization": f"Bearer {secret}"}


async def rejected(gateway) -> dict[str, int]:
    page = (await gateway.client.get(f"{gateway.ops_url}/metrics")).text
    lines = [line for line in page.splitlines() if line.startswith("sluice_rejected_total{")]
    return {line.split('"')[1]: int(float(line.split()[-1])) for line in lines}


async def test_o02_a_full_queue_is_told_as_the_contract_says():
    simulator = quick()
    rows = [at(simulator, max_concurrent_calls=1)]
    async with running(rows, ops=True, resilience=PATIENT | {"queue": {"max_length": 0}}) as gateway:
        simulator.pause()
        first = asyncio.create_task(gateway.ask(stream=True))
        await until(lambda: gateway.house.fleet.inflight == 1)
        for fields in ({"stream": True}, {}):
            refused = await gateway.ask(**fields)
            error = refused.json()["error"]
            assert (refused.status_code, error["code"], error["type"]) == (
                503,
                "overloaded",
                "overloaded_error",
            )
            assert 1 <= int(refused.headers["retry-after"]) <= 60
            assert int(refused.headers["retry-after-ms"]) <= 1000 * int(refused.headers["retry-after"])
            assert refused.headers["x-should-retry"] == "true"
            assert refused.headers["content-type"] == "application/json"
        simulator.resume()
        assert (await first).status_code == 200
        assert await rejected(gateway) == {"queue_full": 2}


async def test_o03_a_caller_with_little_time_is_refused_when_it_is_over():
    simulator = quick()
    async with running([at(simulator, max_concurrent_calls=1)], resilience=PATIENT) as gateway:
        simulator.pause()
        first = asyncio.create_task(gateway.ask())
        await until(lambda: gateway.house.fleet.inflight == 1)
        refused = await gateway.ask(headers={"x-request-timeout-ms": "50"})
        assert refused.status_code in (503, 504)
        assert gateway.house.fleet.queued == 0
        simulator.resume()
        await first
        assert len(calls(simulator)) == 1


@pytest.mark.parametrize("fault", [{"fault": "plain_500"}, {"fault": "close"}], ids=["500", "closed"])
async def test_o06_in_an_outage_endpoints_see_a_tenth_more_attempts_than_calls(fault):
    """Without the breaker, which would spare them nearly all; the budget's floor is for few calls."""
    fleet = [quick() for _ in range(3)]
    resilience = PATIENT | {
        "breaker": {"failure_rate_threshold": 100, "consecutive_failures": 10_000, "minimum_calls": 10_000,
                    "sliding_window_size": 10_000},
        "retry": {"max_attempts": 4, "budget_min_per_second": 0},
    }  # fmt: skip
    async with running(fleet, resilience=resilience) as gateway:
        for simulator in fleet:
            simulator.faults.add(**fault, count=None, match={"path": "/v1/chat/completions"})
        replies = []
        for turn in range(15):
            replies += await asyncio.gather(*(gateway.ask(f"{turn} {number}") for number in range(20)))
        assert {reply.status_code for reply in replies} == {502}
        attempts = len(calls(*fleet))
        assert len(replies) < attempts <= 1.1 * len(replies)
        for simulator in fleet:
            simulator.faults.clear()


BODIES = {
    "one text": {"messages": [{"role": "user", "content": "a" * (10 * 2**20 - 200)}]},
    "not ASCII": {"messages": [{"role": "user", "content": "ä" * (5 * 2**20 - 200)}]},
    "most values": {"messages": [{"role": "user", "content": "x"}], "other": [7] * 199_000},
    "most messages": {"messages": [{"role": "user", "content": "a" * 80}] * 60_000},
}


@pytest.mark.parametrize("case", BODIES)
def test_o09_no_body_holds_up_the_others(case):
    """What happens to a body without a turn of the loop, in CPU seconds; the best of three is the body's own.

    A machine on which the standard library takes half as long just to read it is too slow for such a bound.
    """
    raw = json.dumps({"model": "tiny", **BODIES[case]}, ensure_ascii=False).encode()
    assert len(raw) <= 10 * 2**20
    spent, plain = [], []
    for _ in range(3):
        began = time.thread_time()
        json.loads(raw)
        plain.append(time.thread_time() - began)
        began = time.thread_time()
        body = decode(raw)
        decoded = time.thread_time()
        read(CHAT, body, Policy())
        measure(CHAT, body)
        upstream_body(
            body, surface=CHAT, model="tiny", usage="continuous", assembled=False, defaults={},
            priority=None, cache_salt=None,
        )  # fmt: skip
        spent.append(max(decoded - began, time.thread_time() - decoded))
    assert min(spent) <= max(0.05, 2 * min(plain))


async def test_o10_callers_who_do_not_read_hold_no_places_for_long():
    piece = chunk(EVENT % (b"a" * 60_000))
    async with misbehaving(flooding(SSE, piece)) as endless:
        good = quick(served_names=("good",))
        rows = [at(endless, models=["tiny"], max_concurrent_calls=4), at(good, models=["good"])]
        server = {"write_stall": 1}
        async with running(rows, server=server, resilience=PATIENT) as gateway:
            for _ in range(4):
                (await narrow_caller(gateway)).say(gateway.request(stream=True))
            await until(lambda: gateway.house.fleet.inflight == 4)
            assert (await gateway.ask(model="good")).status_code == 200
            await until(lambda: gateway.house.fleet.inflight == 0)


async def narrow_caller(gateway) -> RawCaller:
    """A caller whose system takes little before it reads."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", gateway.data.port))
    caller = RawCaller(*await asyncio.open_connection(sock=sock, limit=1024))
    gateway._callers.append(caller)
    return caller


async def test_o11_a_flood_of_bad_keys_is_a_few_queries_and_little_memory():
    async with running([quick()]) as gateway:
        keys = gateway.house.storage.keys
        keys._options = keys._options.model_copy(update={"unknown_for": 600.0, "unknown": 100})
        asked = []
        find = keys._lookup.find

        async def counted(digests):
            asked.append(len(digests))
            return await find(digests)

        keys._lookup.find = counted
        bad = [{"authorization": f"Bearer sk-bad-{number}"} for number in range(100)]
        replies = await asyncio.gather(*(gateway.ask(headers=headers) for headers in bad))
        assert {reply.status_code for reply in replies} == {401}
        assert sum(asked) == 100
        assert len(asked) < 50, "they are looked up together"
        before = len(asked)
        replies = await asyncio.gather(*(gateway.ask(headers=headers) for headers in bad))
        assert {reply.status_code for reply in replies} == {401}
        assert len(asked) == before, "and remembered for a while"
        assert (await gateway.ask(headers={"authorization": "Bearer sk-one-more"})).status_code == 401
        assert len(keys._unknown) == 100
        assert (await gateway.ask()).status_code == 200


async def test_o12_a_flood_of_models_that_do_not_exist_leaves_nothing_behind():
    async with running([quick()], ops=True) as gateway:

        async def series() -> int:
            page = (await gateway.client.get(f"{gateway.ops_url}/metrics")).text
            return sum(line.startswith("sluice_") for line in page.splitlines())

        assert (await gateway.ask(model="no-such-model")).status_code == 404
        known, limiter = await series(), gateway.house.storage.limiter
        rules, pools = len(limiter._rules), len(gateway.house.fleet.pools)
        replies = await asyncio.gather(*(gateway.ask(model=f"no-such-model-{n}") for n in range(200)))
        assert {reply.status_code for reply in replies} == {404}
        assert await series() == known
        assert (len(limiter._rules), len(gateway.house.fleet.pools)) == (rules, pools)


@pytest.mark.long
async def test_o16_a_loop_that_is_held_up_takes_no_new_calls_and_recovers():
    server = {"shedding": {"loop_lag": 0.05}}
    async with running([quick()], ops=True, server=server) as gateway:
        held_up = True

        async def hold_up() -> None:
            while held_up:
                time.sleep(0.1)
                await asyncio.sleep(0)

        holding = asyncio.create_task(hold_up())
        await until(lambda: gateway.house.hearing.lag.lasting > 0.05)
        asking = [asyncio.create_task(gateway.ask()) for _ in range(20)]
        replies = [await each for each in asking]
        held_up = False
        await holding
        refused = [reply for reply in replies if reply.status_code == 503]
        assert refused
        assert {reply.json()["error"]["code"] for reply in refused} == {"overloaded"}
        assert len(refused) < len(replies), "never all of them"
        await until(lambda: gateway.house.hearing.lag.lasting < 0.05)
        assert (await gateway.ask()).status_code == 200
        assert await rejected(gateway) == {"loop_lag": len(refused)}
        assert "sluice_loop_lag_seconds" in (await gateway.client.get(f"{gateway.ops_url}/metrics")).text


async def test_o17_bodies_that_would_not_fit_are_refused_before_they_come():
    server = {"max_body": "600KiB", "max_body_in_flight": "1MiB"}
    async with running([quick(max_model_len=2**20)], ops=True, server=server) as gateway:
        shedding = gateway.house.shedding
        body = json.dumps(
            {"model": "tiny", "messages": [{"role": "user", "content": "a" * 500_000}]}
        ).encode()
        whole = post(
            "/v1/chat/completions",
            body,
            f"Authorization: Bearer {gateway.key}",
            "Content-Type: application/json",
        )
        slow = [await gateway.caller() for _ in range(2)]
        for caller in slow:
            caller.say(whole[:100_000])
        await until(lambda: shedding.held == 2 * len(body))
        third = await gateway.caller()
        third.say(whole[:1000])
        refused = await third.answer()
        assert (refused.status, refused.code) == (503, "overloaded")
        assert await rejected(gateway) == {"memory": 1}
        slow[0].hang_up()
        await until(lambda: shedding.held == len(body))
        third.say(whole[1000:])
        third.say(whole)
        assert (await third.answer()).status == 200
        slow[1].say(whole[100_000:])
        assert (await slow[1].answer()).status == 200
        await until(lambda: shedding.held == 0)


async def test_o17_bodies_without_an_announced_length_count_as_they_come():
    server = {"max_body": "600KiB", "max_body_in_flight": "600KiB"}
    async with running([quick()], server=server) as gateway:
        shedding = gateway.house.shedding
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        head += f"Authorization: Bearer {gateway.key}\r\nContent-Type: application/json\r\n\r\n".encode()
        callers = [await gateway.caller() for _ in range(2)]
        for caller in callers:
            caller.say(head + chunk(b" " * 300_000))
        await until(lambda: shedding.held == 600_000)
        callers[0].say(chunk(b" " * 50_000))
        assert (await callers[0].answer()).status == 503
        await until(lambda: shedding.held == 300_000)
        callers[1].hang_up()
        await until(lambda: shedding.held == 0)


async def test_o19_a_batch_tenant_waits_while_others_pass():
    simulator = quick()
    async with running([at(simulator, max_concurrent_calls=1)], resilience=PATIENT) as gateway:
        batch = await tenant(gateway, "batch", priority=10)
        simulator.pause()
        asking = [asyncio.create_task(gateway.ask("first"))]
        await until(lambda: gateway.house.fleet.inflight == 1)
        order: list[str] = []

        async def ask(name: str, headers: dict | None) -> None:
            await gateway.ask(name, headers=headers)
            order.append(name)

        for name, headers in (("batch", batch), ("interactive", None)):
            asking.append(asyncio.create_task(ask(name, headers)))
            await until(lambda: gateway.house.fleet.queued == len(asking) - 1)
        simulator.resume()
        await asyncio.gather(*asking)
        assert order == ["interactive", "batch"]
