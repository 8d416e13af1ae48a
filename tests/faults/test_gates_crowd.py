from __future__ import annotations

import asyncio
import json
import random
import resource
from pathlib import Path

import pytest

from app.simulator import Simulator
from tests.house import PATIENT, calls, running, until

MOST = 2048
WORKERS = 60


@pytest.fixture
def many_files():
    """The soft limit of open files at the hard one: each stream takes four in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < 4 * MOST + 512:
        pytest.fail(f"only {hard} open files are allowed here")
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("endpoints", [3, pytest.param(MOST // 256, marks=pytest.mark.long)])
async def test_as_many_streams_as_the_bulkheads_let_in_are_open_at_once_and_all_complete(
    endpoints, many_files
):
    """The default is 256 places for each endpoint."""
    streams = 256 * endpoints
    fleet = [Simulator(ttft=0.05, itl=0.05) for _ in range(endpoints)]
    unasked = {"interval": 600, "interval_down": 600}  # paused engines would be found to be stuck
    async with running(fleet, resilience=PATIENT, health=unasked, scrape={"interval": 600}) as gateway:
        for simulator in fleet:
            simulator.pause()
        callers = []
        for number in range(streams):
            callers.append(await gateway.caller())
            callers[-1].say(gateway.request("6 tokens", stream=True))
            if number % 64 == 0:
                await until(lambda number=number: gateway.house.fleet.inflight >= number - 64, 60)
        await until(lambda: gateway.house.fleet.inflight == streams, 60)
        await until(lambda: [len(simulator.truth.active) for simulator in fleet] == [256] * endpoints, 60)
        for simulator in fleet:
            simulator.resume()
        answers = await asyncio.gather(*(caller.answer() for caller in callers))
        assert {answer.status for answer in answers} == {200}
        assert all(answer.body.endswith(b"data: [DONE]\n\n") for answer in answers)
        (summary,) = await _summary(gateway)
        assert (summary["requests"], summary["errors"]) == (streams, 0)
        assert (
            summary["completion_tokens"] == sum(record.generated for record in calls(*fleet)) == 6 * streams
        )


def resident():
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.parametrize("seconds", [3, pytest.param(10, marks=pytest.mark.long)])
async def test_u58_u59_callers_who_leave_at_random_leave_nothing_behind(seconds):
    """Ten places for sixty callers, who queue, stream, wait and vanish at any moment."""
    fleet = [Simulator(ttft=0.01, itl=0.003) for _ in range(2)]
    few = {"bulkhead": {"max_concurrent_calls": 5}, "queue": {"max_wait": 60}}
    async with running(fleet, resilience=PATIENT | few) as gateway:
        await gateway.limit(concurrency=1000, tokens_per_minute=10**9, requests_per_minute=10**9)
        dice = random.Random(58)
        end = asyncio.get_running_loop().time() + seconds
        done = {"left": 0, "served": 0}

        async def work():
            while asyncio.get_running_loop().time() < end or min(done.values()) <= 20:
                caller = await gateway.caller()
                caller.say(gateway.request("short", stream=dice.random() < 0.5))
                try:
                    async with asyncio.timeout(dice.uniform(0.0005, 0.5)):
                        assert (await caller.answer()).status == 200
                    done["served"] += 1
                except TimeoutError:
                    done["left"] += 1
                caller.hang_up()

        async def weigh():
            """Once all that is kept of past calls is as much as is ever kept."""
            await asyncio.sleep(seconds / 2)
            return resident()

        async with asyncio.timeout(seconds + 60):
            half_way, *_ = await asyncio.gather(weigh(), *(work() for _ in range(WORKERS)))
        print(done, f"{half_way / 2**20:.0f} MiB half way, {resident() / 2**20:.0f} MiB in the end")
        assert resident() < half_way * 1.05 + 16 * 2**20
        await until(lambda: not gateway.house.fleet.inflight and not gateway.house.fleet.queued)
        for _ in range(10):
            assert (await gateway.ask("short")).status_code == 200
        rows = await gateway.rows()
        assert {row.state for row in rows} <= {"settled", "void"}
        assert sum(row.status == 200 for row in rows) >= done["served"] + 10
        spent = sum(simulator.truth.counters.generated_tokens for simulator in fleet)
        billed = sum(row.completion_tokens for row in rows if row.usage_source == "upstream")
        assert billed <= spent


async def _summary(gateway):
    await gateway.stored()
    return await gateway.house.storage.reports.summary()


async def test_tokens_of_a_stream_s_last_event_reach_the_caller_whole():
    """Sixty-four callers at once: nobody gets anything of anybody else's answer."""
    async with running([Simulator(ttft=0.001, itl=0.001), Simulator(ttft=0.001, itl=0.001)]) as gateway:

        async def stream(number):
            caller = await gateway.caller()
            caller.say(
                gateway.request(f"{number} tokens", stream=True, stream_options={"include_usage": True})
            )
            answer = await caller.answer()
            usage = json.loads(answer.body.split(b"\n\n")[-3].removeprefix(b"data: "))["usage"]
            return usage["completion_tokens"]

        numbers = range(5, 69)
        assert await asyncio.gather(*(stream(number) for number in numbers)) == list(numbers)
