"""One budget of time: queue, attempts, fallbacks and stream share it, and nothing of it begins anew."""

from __future__ import annotations

import asyncio

import pytest

from app.core.errors import GatewayError, NoHealthyEndpoint
from app.core.failures import ClosedEarly, ConnectFailed, FirstByteTimeout, TotalTimeout
from app.core.outcome import Outcome
from app.gateway.catalog import Model
from app.resilience import retry
from tests.fakes import FakePool
from tests.line import HEL, JSON, ROLE, SSE, Rig, answer, error_body

ARRIVED = 1_000.0


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    """Retries pause by the real clock, during which virtual time would run away."""
    monkeypatch.setattr(retry, "_WAIT", lambda state: 0.0)


class TimedRig(Rig):
    """Answers come after the seconds given by endpoint name, places after `queue` seconds."""

    def __init__(self, *names, after=None, queue=0.0, **more) -> None:
        super().__init__(*names, **more)
        self.after = after or {}
        self.queue = queue
        send, enter = self.transport.send, self.pool.enter

        async def sending(outbound, endpoint, connect_timeout):
            await self.clock.sleep(self.after.get(endpoint.name, 0.0))
            return await send(outbound, endpoint, connect_timeout)

        async def entering(call, tried):
            await self.clock.sleep(self.queue)
            return await enter(call, tried)

        self.transport.send = sending
        self.pool.enter = entering

    async def end(self, **fields) -> tuple[float, type[GatewayError] | None]:
        """When the call was over, in seconds since its arrival, and by what."""
        task = asyncio.ensure_future(self.call(**fields))
        while not task.done():
            await self.clock.run(0.25)
        error = task.exception()
        return self.clock.monotonic() - ARRIVED, None if error is None else type(error)

    @property
    def outcomes(self) -> list[Outcome]:
        return [settlement.outcome for _, settlement in self.ear.attempts]


def silent() -> tuple:
    return (200, SSE, [asyncio.Event()])


BROKEN = (500, JSON, [error_body(500)])


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("spent_by", ["queue", "attempt", "free attempt", "both"])
async def test_a_callers_limit_holds_over_queue_and_attempts(streams, spent_by):
    first = ConnectFailed() if spent_by == "free attempt" else BROKEN
    queue = {"queue": 1.5, "both": 1.0}.get(spent_by, 0.0)
    after = {"attempt": 3.0, "free attempt": 3.0, "both": 0.5}.get(spent_by, 0.0)
    rig = TimedRig("a", "b", queue=queue, after={"a": after}, a=[first], b=[silent()])
    over, error = await rig.end(streams=streams, deadline=ARRIVED + 5)
    assert (over, error) == (5.0, TotalTimeout)
    assert rig.outcomes[-1] is Outcome.IGNORED, "a caller's own limit never blames an endpoint"
    assert rig.pool["b"].settlements[-1].outcome is Outcome.IGNORED
    rig.assert_quiet()


@pytest.mark.parametrize("streams", [True, False])
async def test_a_call_that_waits_in_the_queue_till_its_limit_is_void(streams):
    rig = TimedRig("a", queue=30.0, a=[silent()])
    assert await rig.end(streams=streams, deadline=ARRIVED + 2) == (2.0, TotalTimeout)
    assert rig.transport.asked == []
    assert not rig.row.billed
    rig.assert_quiet()


@pytest.mark.parametrize(("streams", "limit"), [(False, 60.0), (True, 100.0)])
@pytest.mark.parametrize("own", [float("inf"), ARRIVED + 500])
async def test_a_retry_does_not_begin_the_total_anew(streams, limit, own):
    rig = TimedRig("a", "b", after={"a": limit - 3, "b": 10.0}, a=[BROKEN], b=[silent()])
    rig.timeouts = rig.timeouts.model_copy(update={"first_byte": rig.timeouts.first_byte.model_copy(
        update={"base": 200.0, "max": 200.0})})  # fmt: skip
    assert await rig.end(streams=streams, deadline=own) == (limit, TotalTimeout)


async def test_first_byte_is_each_attempts_own_within_what_is_left():
    def rig():
        return TimedRig("a", "b", after={"a": 4.0}, a=[ClosedEarly()], b=[silent()])

    over, error = await rig().end(streams=True)
    assert error is FirstByteTimeout
    assert over == 9.0, "4 s at the first, and all of 5 s at the second"
    assert await rig().end(streams=True, deadline=ARRIVED + 6) == (6.0, TotalTimeout)


async def test_time_in_the_queue_is_not_part_of_first_byte():
    rig = TimedRig("a", queue=4.0, a=[silent()])
    assert await rig.end(streams=True) == (9.0, FirstByteTimeout)
    assert rig.outcomes == [Outcome.FAILURE]


async def test_a_first_byte_limit_is_the_callers_when_that_is_shorter():
    rig = TimedRig("a", a=[silent()])
    assert await rig.end(streams=True, deadline=ARRIVED + 4.75) == (4.75, TotalTimeout)
    assert rig.outcomes == [Outcome.IGNORED]


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("own", [True, False])
async def test_a_fallback_gets_what_is_left_and_no_limit_of_its_own(streams, own):
    rig = TimedRig("a", model=Model("m", fallbacks=("spare",)), a=[NoHealthyEndpoint()], z=[silent()])
    rig.pools.by_model["spare"] = FakePool("z", model="spare")
    rig.after = {"z": 200.0}
    rig.queue = 3.0
    rig.pool.error = NoHealthyEndpoint()
    rig.pool.endpoints.clear()
    limit = 5.0 if own else 100.0 if streams else 60.0
    rig.timeouts = rig.timeouts.model_copy(update={"first_byte": rig.timeouts.first_byte.model_copy(
        update={"base": 200.0, "max": 200.0})})  # fmt: skip
    deadline = ARRIVED + 5 if own else float("inf")
    assert await rig.end(streams=streams, deadline=deadline) == (limit, TotalTimeout)
    assert rig.made.target == "spare"
    assert rig.outcomes == [Outcome.IGNORED]


async def test_the_limit_holds_in_mid_stream_and_blames_nobody():
    rig = TimedRig("a", a=[(200, SSE, [ROLE + HEL, asyncio.Event()])])
    assert await rig.end(streams=True, deadline=ARRIVED + 7) == (7.0, TotalTimeout)
    assert rig.outcomes == [Outcome.IGNORED]
    assert rig.row.finish == "timeout"


async def test_an_answer_just_in_time_is_an_answer():
    rig = TimedRig("a", after={"a": 4.75}, a=[(200, JSON, [answer()])])
    assert await rig.end(deadline=ARRIVED + 5) == (4.75, None)
