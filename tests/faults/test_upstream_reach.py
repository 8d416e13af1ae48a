"""Endpoints that cannot be reached, or only now and then, or under a name."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import ExitStack, closing
from statistics import median

import pytest

from app.simulator import Simulator
from tests.faults.behaviours import closes_at_once, in_turn, saying, whole
from tests.faults.contract import assert_refused
from tests.faults.fleets import RARELY, Booked, fleet, hits, learnt, served, states
from tests.house import BlackHole, Refusing, at, calls, running, until
from tests.line import answer
from tests.scripted import misbehaving

LATE = 3.0
"""Seconds that anything may be late on a busy machine."""

QUICK = {"ttft": 0.001, "itl": 0.0005}
IN_TURN = {"health": RARELY, "routing": {"strategy": "round_robin"}}
PATIENT_BREAKER = {"consecutive_failures": 10_000, "minimum_calls": 10_000, "sliding_window_size": 10_000}
NARROW = {"bulkhead": {"max_concurrent_calls": 4}, "queue": {"max_wait": 20, "max_length": 20}}


def only_tiny(*endpoints):
    return [at(endpoint, models=["tiny"]) for endpoint in endpoints]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_u01_refusing_endpoint_costs_nothing_and_is_left_alone_after_three_calls(stream):
    with closing(Refusing()) as refusing:
        async with running(only_tiny(refusing, Simulator(**QUICK)), **IN_TURN) as gateway:
            times = []
            for _ in range(20):
                began = time.monotonic()
                assert (await gateway.ask("short", stream=stream)).status_code == 200
                times.append(time.monotonic() - began)
            print(f"failing over took {max(times[:6]) * 1000:.1f} ms at most")
            assert median(times) < 1
            assert learnt(gateway) == {("gpu-a", "failure", "connect"): 3, ("gpu-b", "success", "none"): 20}
            assert states(gateway) == ["open", "closed"]
            assert gateway.house.fleet.endpoints["gpu-a"].breaker.opened_by == "connect"
            rows = await gateway.rows()
            assert sorted(row.attempts for row in rows) == [1] * 17 + [2] * 3
            assert {(row.state, row.endpoint, row.error_code) for row in rows} == {("settled", "gpu-b", None)}


async def test_u01_u52_refused_everywhere_is_a_quick_503_and_void():
    with closing(Refusing()) as first, closing(Refusing()) as second:
        async with running(only_tiny(first, second), **IN_TURN) as gateway:
            began = time.monotonic()
            assert_refused(await gateway.ask(), "no_healthy_endpoint")
            assert time.monotonic() - began < LATE
            await Booked("void", "gpu-b", 2, 503, "no_healthy_endpoint").check(gateway)
            for _ in range(5):
                reply = await gateway.ask()
            assert states(gateway) == ["open", "open"]
            assert_refused(reply, "no_healthy_endpoint")
            soonest = min(endpoint.back_in() for endpoint in gateway.house.fleet.endpoints.values())
            assert soonest <= int(reply.headers["retry-after"]) < soonest + 2
            began = time.monotonic()
            await gateway.ask()
            assert time.monotonic() - began < LATE


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_u02_black_hole_costs_one_connect_timeout(stream):
    with closing(BlackHole()) as hole:
        async with running(
            only_tiny(hole, Simulator(**QUICK)),
            **IN_TURN | {"health": RARELY | {"timeout": 0.2}, "resilience": {"timeouts": {"connect": 0.2}}},
        ) as gateway:
            gateway.house.fleet.endpoints["gpu-a"].probed("up")
            began = time.monotonic()
            assert (await gateway.ask("short", stream=stream)).status_code == 200
            assert 0.2 <= time.monotonic() - began < 0.4 + LATE
            await Booked("settled", "gpu-b", 2, source="upstream", finish="stop").check(gateway)
            assert learnt(gateway) == {
                ("gpu-a", "failure", "connect_timeout"): 1,
                ("gpu-b", "success", "none"): 1,
            }


async def test_u02_black_holes_leave_neither_place_nor_connection_behind():
    with closing(BlackHole()) as first, closing(BlackHole()) as second:
        limits = {"timeouts": {"connect": 0.1}, "breaker": PATIENT_BREAKER}
        async with running(
            only_tiny(first, second),
            **IN_TURN | {"health": RARELY | {"timeout": 0.1}, "resilience": limits},
        ) as gateway:
            endpoints = gateway.house.fleet.endpoints.values()
            for endpoint in endpoints:
                endpoint.probed("up")
            began = time.monotonic()
            assert_refused(await gateway.ask(), "upstream_connect_timeout")
            assert 0.2 <= time.monotonic() - began < 0.4 + LATE
            await Booked("void", "gpu-b", 2, 504, "upstream_connect_timeout").check(gateway)
            replies = await asyncio.gather(*(gateway.ask() for _ in range(150)))
            assert {reply.status_code for reply in replies} == {504}
            assert [endpoint.inflight for endpoint in endpoints] == [0, 0]
            for endpoint in endpoints:
                assert gateway.house.transport.connections(endpoint.spec) == (0, 0)


async def test_u18_kept_connection_that_dies_unheard_costs_not_even_an_attempt():
    good = saying(whole(answer()))
    async with fleet(in_turn(good, closes_at_once, good)) as (gateway, (server,)):
        for _ in range(2):
            assert (await gateway.ask()).status_code == 200
        assert hits(server) == 3
        assert [row.attempts for row in await gateway.rows()] == [1, 1]
        assert learnt(gateway) == {("gpu-a", "success", "none"): 2}


async def test_u19_calls_at_the_moment_idle_connections_are_closed_are_all_served():
    async def closes_soon(peer):
        await peer.send(whole(answer()))
        asyncio.get_running_loop().call_later(0.01, peer.close)

    async with fleet(closes_soon) as (gateway, (server,)):
        for number in range(100):
            assert (await gateway.ask()).status_code == 200
            await asyncio.sleep(0.0085 + number % 10 * 0.0003)
        assert {row.attempts for row in await gateway.rows()} == {1}
        assert 100 <= hits(server) <= 200
        assert learnt(gateway) == {("gpu-a", "success", "none"): 100}


async def test_u53_last_endpoint_alive_gets_no_more_than_it_has_room_for():
    """Three of four refuse: what does not fit waits, and what cannot even wait is refused."""
    engine = Simulator(ttft=0.05, itl=0.001)
    with ExitStack() as stack:
        dead = [stack.enter_context(closing(Refusing())) for _ in range(3)]
        async with running(only_tiny(*dead, engine), resilience=NARROW, health=RARELY) as gateway:
            most = 0

            async def watch():
                nonlocal most
                while True:
                    most = max(most, len(engine.truth.active))
                    await asyncio.sleep(0.001)

            watching = asyncio.create_task(watch())
            replies = await asyncio.gather(*(gateway.ask("5 tokens") for _ in range(60)))
            watching.cancel()
            refused = [reply for reply in replies if reply.status_code != 200]
            assert most <= 4
            assert 24 <= len(replies) - len(refused) == served(gateway)
            for reply in refused:
                assert_refused(reply, "overloaded")
            assert refused
            assert learnt(gateway)["gpu-d", "success", "none"] == 60 - len(refused)
            assert gateway.house.fleet.endpoints["gpu-d"].breaker.state == "closed"


class Names:
    """Answers what names mean, in place of the system's resolver."""

    def __init__(self, monkeypatch):
        self._real = asyncio.get_running_loop().getaddrinfo
        self.known: dict[str, list[str]] = {}
        self.asked = 0
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", self)

    async def __call__(self, host, port, **options):
        name = host.decode() if isinstance(host, bytes) else host
        if not name.endswith(".test"):
            return await self._real(host, port, **options)
        self.asked += 1
        if name not in self.known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        kind = socket.SOCK_STREAM
        return [(socket.AF_INET, kind, 6, "", (address, port)) for address in self.known[name]]


@pytest.fixture
async def names(monkeypatch):
    return Names(monkeypatch)


async def test_u54_name_without_an_address_concerns_its_endpoint_alone(names):
    """It does not resolve, or to nothing."""
    names.known["empty.test"] = []
    rows = [
        at(Simulator(**QUICK), models=["tiny"]),
        at(Named("gone.test", 8000), models=["tiny"]),
        at(Named("empty.test", 8000), models=["tiny"]),
    ]
    async with running(rows, **IN_TURN) as gateway:
        for _ in range(12):
            assert (await gateway.ask("short")).status_code == 200
        assert learnt(gateway) == {
            ("gpu-a", "success", "none"): 12,
            ("gpu-b", "failure", "connect"): 3,
            ("gpu-c", "failure", "connect"): 3,
        }
        assert "gone.test" not in (await gateway.ask("short")).text


async def test_u54_one_address_that_answers_is_enough(names):
    async with misbehaving(saying(whole(answer()))) as server:
        names.known["mixed.test"] = ["127.0.0.9", "127.0.0.1"]
        async with running([at(Named("mixed.test", server.port), models=["tiny"])], **IN_TURN) as gateway:
            assert (await gateway.ask()).status_code == 200
            assert learnt(gateway) == {("gpu-a", "success", "none"): 1}


async def test_u54_name_is_asked_again_for_new_connections_and_open_ones_live_on(names):
    engine = Simulator(ttft=0.001, itl=0.01)
    async with engine:
        port = int(engine.url.rpartition(":")[2])
        names.known["moving.test"] = ["127.0.0.1"]
        async with running([at(Named("moving.test", port), models=["tiny"])], **IN_TURN) as gateway:
            gateway.simulators = [engine]
            streaming = asyncio.create_task(gateway.ask("60 tokens", stream=True))
            await until(lambda: engine.truth.active)
            del names.known["moving.test"]
            assert_refused(await gateway.ask(), "no_healthy_endpoint")
            moved = misbehaving(saying(whole(answer())))
            moved._host, moved.port = "127.0.0.2", port
            async with moved:
                names.known["moving.test"] = ["127.0.0.2"]
                assert (await gateway.ask()).status_code == 200
                assert hits(moved) == 1
                assert (await streaming).text.endswith("data: [DONE]\n\n")
                assert len(calls(engine)) == 1
                assert states(gateway) == ["closed"]


class Named:
    """Somewhere under a name."""

    def __init__(self, name, port):
        self.url = f"http://{name}:{port}"


@pytest.mark.parametrize("form", ["address", "url", "mapped"])
async def test_u55_ipv6_endpoint_is_served_from(form):
    host = "127.0.0.1" if form == "mapped" else "::1"
    server = misbehaving(saying(whole(answer())))
    server._host = host
    async with server:
        endpoint = Named("[::ffff:127.0.0.1]" if form == "mapped" else "[::1]", server.port)
        row = at(endpoint, models=["tiny"])
        if form == "address":
            row.fields |= {"url": None, "address": "::1", "port": server.port}
        async with running([row], **IN_TURN) as gateway:
            assert (await gateway.ask()).status_code == 200
            assert hits(server) == 1
            host_header = server.log.requests[-1].header("host")
            assert host_header == [endpoint.url.removeprefix("http://")]
            await Booked("settled", "gpu-a", 1, source="upstream", finish="stop").check(gateway)


async def test_u55_zone_that_is_not_there_concerns_its_endpoint_alone():
    nowhere = Named("[fe80::1%25nowhere]", 8000)
    async with running(only_tiny(nowhere, Simulator(**QUICK)), **IN_TURN) as gateway:
        for _ in range(6):
            assert (await gateway.ask("short")).status_code == 200
        assert learnt(gateway) == {("gpu-a", "failure", "connect"): 3, ("gpu-b", "success", "none"): 6}
