"""The load keeps to its schedule and says what it was told."""

from __future__ import annotations

import asyncio
import json
import math
import random

import pytest

from tests.faults.behaviours import END, EVENT, SSE, chunk, closes_at_once, never_answers, saying, whole
from tests.faults.faultserver import FaultServer
from tests.faults.openloop import Flow, OpenLoop, Report, Told, elsewhere, percentile

REFUSAL = json.dumps({"error": {"message": "no", "type": "t", "param": None, "code": "overloaded"}}).encode()
ADVICE = b"retry-after: 2\r\nretry-after-ms: 1500\r\nx-should-retry: true\r\n"
ANSWERS = saying(whole(b"{}"))
PATHS = {
    "/well": ANSWERS,
    "/no": saying(whole(REFUSAL, b"503 no", ADVICE)),
    "/stream": saying(SSE, chunk(EVENT), chunk(b"data: [DONE]\n\n"), END),
    "/broken": saying(SSE, chunk(EVENT), chunk(b"data: " + REFUSAL + b"\n\n"), END),
    "/short": saying(SSE, chunk(EVENT), END),
    "/closed": closes_at_once,
    "/silent": never_answers,
}


def flow(path, **fields):
    return Flow(path, "sk-x", {"model": "tiny"}, path=path, **fields)


async def told(*flows, **options):
    async with FaultServer(PATHS) as server:
        return await OpenLoop(server.url, flows, **options).run(), server


async def test_calls_leave_on_time_while_others_hang():
    report, server = await told(
        flow("/silent", rate=50, seconds=0.2), flow("/well", rate=100, seconds=0.4, start=0.1), patience=0.7
    )
    assert report.of("/silent").codes() == {"patience": 10}
    assert report.of("/well").statuses() == {200: 40}
    assert len(server.log.requests) == 50
    assert report.of("/well", since=0.3).of(until=0.4).statuses() == {200: 10}


async def test_a_stall_is_felt_by_every_call_it_holds_up():
    """The server stands still for 0.2 s with its loop: calls due meanwhile left late and say so."""

    async def stands_still(peer):
        await ANSWERS(peer)

    async with FaultServer(stands_still) as server:
        load = asyncio.create_task(OpenLoop(server.url, [flow("/well", rate=100, seconds=0.4)]).run())
        while not server.log.requests:
            await asyncio.sleep(0.001)
        end = asyncio.get_running_loop().time() + 0.2
        while asyncio.get_running_loop().time() < end:
            pass
        report = await load
    assert report.late >= 0.15
    assert len([each for each in report.told if each.latency > 0.05]) >= 10


async def test_answers_are_told_by_code_and_advice():
    flows = [flow(path, rate=1, seconds=1) for path in PATHS if path != "/silent"]
    report, _ = await told(*flows)
    found = {each.flow: (each.status, each.code) for each in report.told}
    assert found == {
        "/well": (200, None),
        "/no": (503, "overloaded"),
        "/stream": (200, None),
        "/broken": (200, "overloaded"),
        "/short": (200, "unended"),
        "/closed": (0, "cut"),
    }
    (refusal,) = report.of("/no").told
    assert (refusal.retry_after, refusal.should_retry) == (1.5, "true")
    assert len(report.served) == 2
    assert all(0 < each.first_byte <= each.latency < 5 for each in report.of("/stream", "/well").told)


async def test_nobody_there_is_said_too():
    async with FaultServer(ANSWERS) as server:
        url = server.url
    report = await OpenLoop(url, [flow("/well", rate=10, seconds=0.2)]).run()
    assert report.codes() == {"connect": 2}


async def test_connections_are_used_again():
    report, server = await told(flow("/well", rate=50, seconds=0.4))
    assert len(report.served) == 20
    assert server.accepted < 20


async def test_a_process_of_its_own_says_the_same():
    async with FaultServer(PATHS) as server:
        flows = [
            flow("/well", arrivals=(0.0, 0.01)),
            flow("/no", rate=10, seconds=0.1, headers=(("x-a", "b"),)),
        ]
        report = await elsewhere(server.url, flows)
    assert report.statuses() == {200: 2, 503: 1}
    assert report.codes() == {"overloaded": 1}
    assert server.log.requests[0].header("authorization") == ["Bearer sk-x"]


@pytest.mark.parametrize("poisson", [False, True])
def test_arrivals_keep_their_rate(poisson):
    due = flow("/well", rate=100, seconds=10, start=1, poisson=poisson).due(random.Random(1))
    assert len(due) == 1000
    assert due == sorted(due)
    assert 9 < due[-1] - due[0] < 11


def test_percentiles_are_of_the_nearest_rank():
    assert percentile(range(1, 101), 99) == 99
    assert percentile([5.0], 50) == 5.0
    assert math.isnan(percentile([], 50))


def test_report_says_its_figures():
    report = Report([Told("a", 0.0, 200, None, 0.01, 0.02), Told("a", 0.0, 503, "overloaded", 0.01, 0.01)])
    assert (
        str(report) == "2 calls, {200: 1, 503: 1} {'overloaded': 1}, p50 10.0 ms, p99 20.0 ms, p100 20.0 ms"
    )
    assert str(Report()) == "no calls"
