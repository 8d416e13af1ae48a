"""Queries of death: bodies that end the engine that reads them, over real sockets."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from app.simulator import Simulator
from tests.faults.behaviours import SSE, chunk, closes_at_once, saying, whole
from tests.faults.faultserver import FaultServer
from tests.house import at, chat, running, until
from tests.line import HEL, ROLE, answer

HEALTH = {"interval": 60, "interval_down": 60}
POISON = "poison"


class Mortal(FaultServer):
    """A healthy server until it reads the word: then the whole process is gone, as after a fault in a kernel.

    `says` is how far the answer has come by then.
    """

    def __init__(self, *says: bytes) -> None:
        models = json.dumps({"object": "list", "data": [{"id": "tiny", "object": "model"}]}).encode()
        super().__init__({
            "/v1/chat/completions": self._chat,
            "/v1/models": saying(whole(models)),
            "/health": saying(whole(b"")),
            "/metrics": saying(whole(b"")),
        })  # fmt: skip
        self.says = says
        self.dead = False
        self.innocent: asyncio.Event | None = None

    async def _chat(self, peer) -> None:
        if POISON.encode() in peer.request.body:
            await peer.send(*self.says)
            self.dead = True
            self._server.close()
            for task in self._tasks - {asyncio.current_task()}:
                task.cancel()
            peer.reset()
            return
        if self.innocent is not None:
            await self.innocent.wait()
        await peer.send(whole(answer()))

    def chats(self, word: str) -> int:
        return sum(word.encode() in request.body for request in self.log.requests)


@asynccontextmanager
async def fleet(number: int, *says: bytes, **settings):
    """A gateway before so many, asked one after the other."""
    async with AsyncExitStack() as stack:
        mortals = [await stack.enter_async_context(Mortal(*says)) for _ in range(number)]
        settings = {"health": HEALTH, "routing": {"strategy": "round_robin"}} | settings
        rows = [at(mortal, models=["tiny"]) for mortal in mortals]
        yield await stack.enter_async_context(running(rows, **settings)), mortals


async def warm(gateway, mortals) -> None:
    """A connection to each is idle in the pool."""
    for _ in mortals:
        assert (await gateway.ask("hello")).status_code == 200
    transport = gateway.house.transport
    assert all(transport.connections(e.spec)[1] for e in gateway.house.fleet.endpoints.values())


def dead(mortals) -> int:
    return sum(mortal.dead for mortal in mortals)


@pytest.mark.parametrize("warmed", [True, False], ids=["pooled connections", "fresh connections"])
@pytest.mark.parametrize("attempts", [2, 9])
async def test_v08_of_four_endpoints_exactly_two_die(warmed, attempts):
    """A pooled connection that dies looks idle, and its endpoint refuses a fresh one: a death all the same."""
    async with fleet(4, resilience={"retry": {"max_attempts": attempts}}) as (gateway, mortals):
        if warmed:
            await warm(gateway, mortals)
        for _ in range(5):
            answered = await gateway.ask(POISON)
            assert answered.status_code == 502
            assert answered.json()["error"]["code"] == "upstream_error"
            assert answered.headers["x-should-retry"] == "false"
        assert dead(mortals) == 2
        assert sum(mortal.chats(POISON) for mortal in mortals) == 2
        for number in range(8):
            assert (await gateway.ask(f"harmless {number}")).status_code == 200


async def test_v08_deaths_after_the_first_words_are_found_too():
    """Nothing is tried again then: each of the two costs one answer."""
    says = (SSE, chunk(ROLE), chunk(HEL))
    async with fleet(4, *says) as (gateway, mortals):
        for number in range(4):
            answered = await gateway.ask(POISON, stream=True)
            assert answered.status_code == (200 if number < 2 else 502)
            assert "[DONE]" not in answered.text
        assert dead(mortals) == 2


async def test_v07_engine_that_says_it_is_dead_takes_one_other_with_it():
    """vLLM's API server outlives its engine by a moment, and says so with a 500."""
    engines = [Simulator(ttft=0.005, itl=0.002) for _ in range(4)]
    async with running(engines, routing={"strategy": "round_robin"}, health=HEALTH) as gateway:
        body = chat(POISON)
        for engine in engines:
            engine.faults.add("engine_dead", count=None, match={"path": "/v1/chat/completions"})
        for _ in range(4):
            assert (await gateway.post("/v1/chat/completions", body)).status_code == 502
        met = [
            sum(record.status == 500 for record in engine.truth.records if record.request_id)
            for engine in engines
        ]
        assert sorted(met) == [0, 0, 1, 1]


async def test_calls_that_were_there_by_accident_go_on_elsewhere():
    says = (SSE, chunk(ROLE), chunk(HEL))
    async with fleet(4, *says, resilience={"retry": {"budget_min_per_second": 100}}) as (gateway, mortals):
        for mortal in mortals:
            mortal.innocent = asyncio.Event()
        asking = [asyncio.create_task(gateway.ask(f"innocent {number}")) for number in range(12)]
        await until(lambda: all(mortal.chats("innocent") == 3 for mortal in mortals))
        assert "[DONE]" not in (await gateway.ask(POISON, stream=True)).text
        assert dead(mortals) == 1
        for mortal in mortals:
            mortal.innocent.set()
        answers = await asyncio.gather(*asking)
        assert [one.status_code for one in answers] == [200] * 12
        assert "[DONE]" not in (await gateway.ask(POISON, stream=True)).text
        assert dead(mortals) == 2
        for number in range(12):
            assert (await gateway.ask(f"innocent {number}")).status_code == 200
        assert (await gateway.ask(POISON, stream=True)).status_code == 502
        assert dead(mortals) == 2


async def test_refusals_are_counted_and_told_once_without_the_body(caplog):
    async with fleet(3, ops=True) as (gateway, mortals):
        with caplog.at_level(logging.WARNING):
            for _ in range(4):
                assert (await gateway.ask(POISON)).status_code == 502
        page = (await gateway.client.get(f"{gateway.ops_url}/metrics")).text
        assert 'sluice_rejected_total{reason="fuse"} 3.0' in page
        assert len([line for line in caplog.messages if "second death" in line]) == 1
        assert POISON not in caplog.text
        assert dead(mortals) == 2
        assert len(await gateway.rows()) == 1, "what is refused at the door has no row"


async def test_switched_off_every_caller_may_kill_its_two():
    async with fleet(4, resilience={"fuse": {"enabled": False}}) as (gateway, mortals):
        for _ in range(2):
            assert (await gateway.ask(POISON)).status_code == 502
        assert dead(mortals) == 4


async def test_endpoints_that_close_connections_and_live_blow_no_fuse():
    """A proxy that is restarted in front of all of them, say: the body is welcome again within seconds."""
    answers = [closes_at_once]

    async def moody(peer) -> None:
        await answers[-1](peer)

    async with AsyncExitStack() as stack:
        models = whole(json.dumps({"object": "list", "data": [{"id": "tiny", "object": "model"}]}).encode())
        rows = []
        for _ in range(2):
            behaviours = {
                "/v1/chat/completions": moody,
                "/v1/models": saying(models),
                "/health": saying(whole(b"")),
                "/metrics": saying(whole(b"")),
            }
            rows.append(at(await stack.enter_async_context(FaultServer(behaviours)), models=["tiny"]))
        gateway = await stack.enter_async_context(running(rows, health=HEALTH))
        for _ in range(2):
            assert (await gateway.ask("popular")).status_code == 502
        answers.append(saying(whole(answer())))
        async with asyncio.timeout(10):
            while (await gateway.ask("popular")).status_code != 200:
                await asyncio.sleep(0.05)
