from __future__ import annotations

import asyncio
import gzip
import time

import pytest

from app.simulator import Simulator
from tests.faults.behaviours import (
    END,
    EVENT,
    JSON,
    OK,
    SSE,
    answers_with_a_bomb,
    chunk,
    closes_at_once,
    dripping,
    flooding,
    resets_at_once,
    saying,
    saying_then_fin,
    whole,
)
from tests.faults.contract import assert_broken_off, assert_refused
from tests.faults.fleets import Booked, fleet, hits, learnt, served, states
from tests.house import at, calls, running, until
from tests.line import DONE, HEL, ROLE, WHOLE, answer
from tests.scripted import CHAT, misbehaving

ANSWER = answer()
GZIP = b"content-encoding: gzip\r\n"

BAD = {
    "u13 bad chunk": (saying_then_fin(SSE, b"ZZ\r\n"), "bad"),
    "u14 length too long": (saying_then_fin(JSON + b"content-length: 5000\r\n\r\n" + ANSWER), "closed"),
    "u17 not HTTP": (saying_then_fin(b"SSH-2.0-OpenSSH_9.6\r\n"), "bad"),
    "u18 closed": (closes_at_once, "closed"),
    "u18 reset": (resets_at_once, "closed"),
    "u20 endless headers": (flooding(OK, b"x-many: " + b"a" * 8000 + b"\r\n"), "bad"),
    "u21 endless 1xx": (flooding(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "bad"),
    "u22 status 999": (saying(whole(ANSWER, b"999 odd")), "bad"),
    "u22 status 000": (saying_then_fin(whole(ANSWER, b"000 odd")), "bad"),
    "u22 status 101": (saying_then_fin(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n"), "bad"),
    "u23 redirect": (saying(whole(b"", b"307 go", b"location: http://169.254.169.254/\r\n")), "bad"),
    "u24 compressed": (saying(whole(gzip.compress(ANSWER), extra=GZIP)), "bad"),
    "u25 bomb": (answers_with_a_bomb, "bad"),
    "u26 not what it says": (saying(whole(ANSWER, extra=GZIP)), "bad"),
    "u35 a page": (saying(whole(b"<html><body>It works!</body></html>")), "bad"),
    "u35 nothing": (saying(whole(b"")), "bad"),
}
"""By the case: what answers a chat like this, and what the breaker hears of it."""

CODES = {"bad": "bad_upstream", "closed": "upstream_error"}
AT_ONCE = 5.0
"""Seconds; what is wanted is far less, which a busy machine may miss."""


def reason_of(case, stream):
    """Short JSON where a stream was asked for is bad already for being JSON."""
    return "bad" if stream and case.startswith("u14") else BAD[case][1]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("case", BAD)
async def test_bad_answer_costs_the_caller_nothing_while_another_endpoint_is_well(case, stream):
    async with fleet(BAD[case][0], healthy=1) as (gateway, (server,)):
        began = time.monotonic()
        reply = await gateway.ask("short", stream=stream)
        assert time.monotonic() - began < AT_ONCE
        assert reply.status_code == 200
        assert reply.text.endswith("data: [DONE]\n\n") if stream else reply.json()["choices"]
        assert (hits(server), served(gateway)) == (1, 1)
        await Booked("settled", "gpu-b", 2, source="upstream", finish="stop").check(gateway)
        reason = reason_of(case, stream)
        assert learnt(gateway) == {("gpu-a", "failure", reason): 1, ("gpu-b", "success", "none"): 1}
        assert gateway.house.hearing.calls.retries == {(reason,): 1}
        assert states(gateway) == ["closed", "closed"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("case", BAD)
async def test_bad_answer_of_every_endpoint_is_a_502_in_our_shape(case, stream):
    async with fleet(BAD[case][0], BAD[case][0]) as (gateway, servers):
        began = time.monotonic()
        reply = await gateway.ask("short", stream=stream)
        assert time.monotonic() - began < AT_ONCE
        reason = reason_of(case, stream)
        assert_refused(reply, CODES[reason])
        assert [hits(server) for server in servers] == [1, 1]
        await Booked("void", "gpu-b", 2, 502, CODES[reason]).check(gateway)
        assert learnt(gateway) == {("gpu-a", "failure", reason): 1, ("gpu-b", "failure", reason): 1}


async def test_u28_bad_answers_open_the_breaker_like_500s():
    async with fleet(saying(whole(b"<html>")), healthy=1) as (gateway, (server,)):
        for _ in range(20):
            assert (await gateway.ask("short")).status_code == 200
        assert hits(server) == 5
        assert states(gateway) == ["open", "closed"]


async def test_u15_poison_behind_an_answer_reaches_nobody():
    poisoned = saying(whole(ANSWER) + b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nPOISON")
    async with fleet(poisoned) as (gateway, (server,)):
        for _ in range(5):
            reply = await gateway.ask()
            assert (reply.status_code, "POISON" in reply.text) == (200, False)
        asked = [request.connection for request in server.log.requests if request.path == CHAT]
        assert len(set(asked)) == len(asked) == 5
        assert learnt(gateway) == {("gpu-a", "success", "none"): 5}


TWO_FRAMINGS = saying_then_fin(
    JSON + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n" + chunk(ANSWER) + END
)


async def test_u16_two_framings_at_once_are_refused():
    async with fleet(TWO_FRAMINGS, TWO_FRAMINGS) as (gateway, _):
        assert_refused(await gateway.ask(), "bad_upstream")
        await Booked("void", "gpu-b", 2, 502, "bad_upstream").check(gateway)
    async with fleet(TWO_FRAMINGS, healthy=1) as (gateway, _):
        assert (await gateway.ask("short")).status_code == 200
        assert learnt(gateway) == {("gpu-a", "failure", "bad"): 1, ("gpu-b", "success", "none"): 1}


async def test_u07_drip_is_ended_by_the_total_time():
    """No single silence is long."""
    raw = JSON + b"content-length: %d\r\n\r\n" % len(ANSWER) + ANSWER
    limits = {"timeouts": {"total": 0.4}}
    async with fleet(dripping(raw, 0.02), healthy=1, resilience=limits) as (gateway, _):
        began = time.monotonic()
        assert_refused(await gateway.ask(), "upstream_total_timeout")
        assert 0.4 <= time.monotonic() - began < 0.4 + AT_ONCE
        code = "upstream_total_timeout"
        await Booked("settled", "gpu-a", 1, 504, code, "estimated", "timeout").check(gateway)
        assert learnt(gateway) == {("gpu-a", "ignored", "total"): 1}
        assert (states(gateway), served(gateway)) == (["closed", "closed"], 0)


async def test_u07_dripping_stream_is_ended_by_its_total_time():

    async def drips(peer):
        await peer.send(SSE, chunk(ROLE), chunk(HEL))
        while True:
            await peer.send(chunk(b":"))
            await asyncio.sleep(0.02)

    limits = {"timeouts": {"stream_total": 1.0, "first_byte": 0.9, "idle": 0.9}}
    async with fleet(drips, resilience=limits) as (gateway, _):
        code = "upstream_total_timeout"
        assert_broken_off((await gateway.ask(stream=True)).text, code)
        await Booked("settled", "gpu-a", 1, 504, code, "upstream", "timeout").check(gateway)
        assert learnt(gateway) == {("gpu-a", "ignored", "total"): 1}


async def test_u12_stream_that_ends_with_its_connection_is_complete_only_if_it_says_so():
    head = OK + b"content-type: text/event-stream\r\n\r\n"
    async with fleet(saying_then_fin(head, *WHOLE[:-2]), healthy=1) as (gateway, _):
        assert_broken_off((await gateway.ask(stream=True)).text, "upstream_error")
        await Booked("settled", "gpu-a", 1, 502, "upstream_error", "upstream", "cut").check(gateway)
        assert (states(gateway), served(gateway)) == (["closed", "closed"], 0)
        ((_, outcome, _),) = learnt(gateway)
        assert outcome == "failure"
    async with fleet(saying_then_fin(head, *WHOLE)) as (gateway, _):
        assert (await gateway.ask(stream=True)).text.endswith("data: [DONE]\n\n")
        await Booked("settled", "gpu-a", 1, source="upstream", finish="stop").check(gateway)


async def test_u12_json_that_ends_with_its_connection_is_complete_only_if_it_can_be_read():
    async with fleet(saying_then_fin(JSON + b"\r\n" + ANSWER[:-20]), healthy=1) as (gateway, _):
        assert (await gateway.ask("short")).status_code == 200
        assert learnt(gateway) == {("gpu-a", "failure", "bad"): 1, ("gpu-b", "success", "none"): 1}
    async with fleet(saying_then_fin(JSON + b"\r\n" + ANSWER)) as (gateway, _):
        assert (await gateway.ask()).json()["usage"]["completion_tokens"] == 3


ENDLESS = chunk(b"data: " + b"a" * 60_000)


async def test_u40_first_event_without_an_end_is_tried_elsewhere():
    """A megabyte is more than any event has."""
    async with fleet(flooding(SSE, ENDLESS), flooding(SSE, ENDLESS)) as (gateway, servers):
        assert_refused(await gateway.ask(stream=True), "bad_upstream")
        await Booked("void", "gpu-b", 2, 502, "bad_upstream").check(gateway)
        assert [hits(server) for server in servers] == [1, 1]
    async with fleet(flooding(SSE, ENDLESS), healthy=1) as (gateway, _):
        assert (await gateway.ask("short", stream=True)).text.endswith("data: [DONE]\n\n")


async def test_u40_later_event_without_an_end_breaks_the_stream_off():
    async with fleet(flooding(SSE + chunk(ROLE) + chunk(HEL), ENDLESS)) as (gateway, _):
        reply = await gateway.ask(stream=True)
        assert_broken_off(reply.text, "upstream_error")
        assert len(reply.text) < 2_000_000
        await Booked("settled", "gpu-a", 1, 502, "upstream_error", "upstream", "cut").check(gateway)


async def test_u41_what_comes_after_done_is_ignored_and_never_read_by_the_next_call():
    more = saying(SSE, *map(chunk, WHOLE), chunk(HEL), chunk(DONE), END)
    async with fleet(more) as (gateway, _):
        for _ in range(3):
            assert (await gateway.ask(stream=True)).text.count("data: [DONE]") == 1
        assert {row.completion_tokens for row in await gateway.rows()} == {3}


async def test_u42_running_usage_is_never_summed_up():
    async with fleet(saying(SSE, *map(chunk, WHOLE), END)) as (gateway, _):
        await gateway.ask(stream=True)
        row = await gateway.row()
        assert (row.prompt_tokens, row.completion_tokens) == (5, 3)


async def test_u43_name_the_endpoint_gives_itself_stays_behind():
    async with fleet(saying(whole(ANSWER))) as (gateway, _):
        assert b"m-served" in ANSWER
        assert (await gateway.ask()).json()["model"] == "tiny"


ODD_PROBES = {
    "u46 health hangs": "health_hang",
    "u47 metrics are garbage": "metrics_garbage",
    "u47 metrics hang": "metrics_hang",
}


@pytest.mark.parametrize("case", ODD_PROBES)
async def test_endpoint_whose_probes_go_wrong_serves_on_and_holds_nobody_up(case):
    """What calls see of it counts for more than what it says of itself."""
    odd, well = Simulator(ttft=0.001, itl=0.001), Simulator(ttft=0.001, itl=0.001)
    often = {"interval": 0.02, "interval_down": 0.02, "timeout": 0.25}
    scrapes = {"interval": 0.05, "timeout": 0.25}
    turns = {"strategy": "round_robin"}
    async with running([odd, well], health=often, scrape=scrapes, routing=turns) as gateway:
        await until(lambda: gateway.house.fleet.endpoints["gpu-a"].scraped.running is not None)
        odd.faults.add(ODD_PROBES[case], count=None)
        slowest, asked = 0.0, 0
        while odd.truth.counters.faults < 4 or asked < 20:
            began = time.monotonic()
            assert (await gateway.ask("short")).status_code == 200
            slowest, asked = max(slowest, time.monotonic() - began), asked + 1
        assert slowest < AT_ONCE
        assert len(calls(odd)) >= asked // 2 - 1
        assert states(gateway) == ["closed", "closed"]
        endpoints = gateway.house.fleet.endpoints
        assert [endpoint.available for endpoint in endpoints.values()] == [True, True]
        if case.startswith("u47"):
            await until(lambda: endpoints["gpu-a"].scraped.running is None)
            page = gateway.house.metrics.exposition().decode()
            assert 'sluice_endpoint_requests_running{endpoint="gpu-b"}' in page
            assert 'sluice_endpoint_requests_running{endpoint="gpu-a"}' not in page


async def test_u47_endless_metrics_are_cut_off():
    server = misbehaving(saying(whole(ANSWER)))
    page = b"vllm:num_requests_running 1\n" * 2000
    server._behaviour["/metrics"] = flooding(OK + b"transfer-encoding: chunked\r\n\r\n", chunk(page))
    async with server:
        scrapes = {"interval": 0.1, "timeout": 5}
        async with running([at(server, models=["tiny"])], scrape=scrapes) as gateway:
            (endpoint,) = gateway.house.fleet.endpoints.values()
            await until(lambda: sum(request.path == "/metrics" for request in server.log.requests) > 2)
            assert (await gateway.ask()).status_code == 200
            assert endpoint.scraped.running is None
            assert [line for line in gateway.witness.lines if "metrics of endpoint gpu-a: too_large" in line]


async def test_done_without_any_event_is_no_answer():
    nothing = saying(SSE, chunk(DONE), END)
    async with fleet(nothing, nothing) as (gateway, _):
        assert (await gateway.ask(stream=True)).status_code == 502
        assert [row.state for row in await gateway.rows()] == ["void"]


async def test_stream_of_events_without_a_finish_is_no_answer():
    async with fleet(saying(SSE, chunk(EVENT), chunk(DONE), END)) as (gateway, _):
        assert_broken_off((await gateway.ask(stream=True)).text, "upstream_error")
        assert (await gateway.row()).finish == "cut"
