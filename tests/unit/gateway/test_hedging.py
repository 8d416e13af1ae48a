"""Two attempts at one call: whoever commits first wins, and nothing of the other one is left."""

from __future__ import annotations

import asyncio
import random

import pytest

from app.core.errors import CallerGone, RateLimitExceeded
from app.core.failures import (
    ClosedEarly,
    ConnectFailed,
    EndpointBusy,
    EndpointFailed,
    EndpointRejected,
    FirstByteTimeout,
    StreamBroken,
    TotalTimeout,
)
from app.core.outcome import Outcome, Usage
from app.resilience.hedge import Hedge, HedgeOptions
from app.wire.surfaces import SURFACES
from tests.clock import settle
from tests.fakes import make_call
from tests.line import DONE, HEL, JSON, LO, ROLE, SSE, STOP, WHOLE, Rig, error_body

LATE = 1.0
"""Seconds after which these calls are hedged."""

FIRST = [ROLE, HEL]


def armed(rig: Rig, hedges: int = 100) -> Rig:
    """First events came within a second so far, and so many hedges are paid for."""
    hedge = rig.pool.hedge = Hedge(HedgeOptions(enabled=True, budget_ratio=1, minimum_calls=1))
    for surface in SURFACES.values():
        hedge.observe(make_call(surface=surface), LATE)
    for _ in range(hedges):
        hedge.deposit()
    return rig


def stream(*script: object) -> list:
    return [(200, SSE, [*script])]


def hanging() -> list:
    return [(200, SSE, [asyncio.Event()])]


class Started:
    """A streaming call under way in a task of its own."""

    def __init__(self, rig: Rig, **fields) -> None:
        fields.setdefault("streams", True)
        self.rig = rig
        self.task = asyncio.ensure_future(rig.call(**fields))

    async def after(self, seconds: float) -> Started:
        await settle()
        await self.rig.clock.run(seconds)
        return self

    async def ended(self) -> bytes:
        async with asyncio.timeout(5):
            return await self.task


def told(rig: Rig) -> list[tuple[str, str | None, bool]]:
    return [(each.endpoint, each.settlement.reason, each.hedge) for each in rig.made.attempts]


def assert_nothing_left(rig: Rig) -> None:
    rig.assert_quiet()
    assert all(body.closed or body.ended for body in rig.transport.bodies)
    assert not [timer for *_, timer in rig.clock._due if timer.callback is not None]
    names = [task.get_name() for task in asyncio.all_tasks() if not task.done()]
    assert not [name for name in names if name.startswith("attempt of")]


async def test_a_call_that_is_in_time_is_not_hedged():
    rig = armed(Rig("a", "b", a=stream(*WHOLE), b=stream(*WHOLE)))
    assert (await Started(rig).ended()).endswith(DONE)
    assert rig.transport.asked == ["a"]
    assert told(rig) == [("a", None, False)]
    assert_nothing_left(rig)


async def test_a_late_call_is_answered_by_another_endpoint():
    rig = armed(Rig("a", "b", a=hanging(), b=stream(*WHOLE)))
    call = await Started(rig).after(LATE)
    assert (await call.ended()).endswith(DONE)
    assert rig.transport.asked == ["a", "b"]
    assert told(rig) == [("a", "hedge_lost", False), ("b", None, True)]
    assert (rig.made.endpoint, rig.made.served_model) == ("b", "m-served")
    assert (rig.row.outcome, rig.row.usage) == (Outcome.SUCCESS, Usage(5, 3))
    assert_nothing_left(rig)


async def test_no_hedge_before_the_call_is_late():
    rig = armed(Rig("a", "b", a=hanging(), b=stream(*WHOLE)))
    call = await Started(rig).after(LATE - 0.01)
    assert rig.transport.asked == ["a"]
    await call.after(0.01)
    await call.ended()
    assert rig.transport.asked == ["a", "b"]


async def test_the_hedge_ends_when_the_first_attempt_comes_after_all():
    first = asyncio.Event()
    rig = armed(Rig("a", "b", a=stream(first, *WHOLE), b=[asyncio.Event()]))
    call = await Started(rig).after(LATE)
    first.set()
    assert (await call.ended()).endswith(DONE)
    assert told(rig) == [("b", "hedge_lost", True), ("a", None, False)]
    assert rig.made.endpoint == "a"
    assert_nothing_left(rig)


async def test_nobody_is_blamed_for_losing():
    rig = armed(Rig("a", "b", a=hanging(), b=stream(*WHOLE)))
    await (await Started(rig).after(LATE)).ended()
    (lost,) = rig.pool["a"].settlements
    assert (lost.outcome, lost.reason, lost.billed) == (Outcome.IGNORED, "hedge_lost", False)
    assert rig.pool["a"].learnt == []
    assert (rig.pool["a"].answers, rig.pool["b"].answers) == (0, 1)


async def test_what_the_loser_read_is_wasted_and_paid_by_nobody():
    rig = armed(Rig("a", "b", a=hanging(), b=stream(*WHOLE)))
    await (await Started(rig).after(LATE)).ended()
    lost, won = rig.made.attempts
    assert (lost.wasted, lost.settlement.usage) == (7, Usage(7, 0))
    assert rig.row.usage == won.settlement.usage == Usage(5, 3)
    assert len(rig.ledger.rows) == 1


async def test_both_commit_in_one_tick_and_one_of_them_counts():
    gate = asyncio.Event()
    rig = armed(Rig("a", "b", a=stream(gate, *WHOLE), b=stream(gate, *WHOLE)))
    call = await Started(rig).after(LATE)
    gate.set()
    assert (await call.ended()).count(DONE) == 1
    assert [reason for _, reason, _ in told(rig)] == ["hedge_lost", None]
    assert_nothing_left(rig)


async def test_a_leg_that_answers_although_it_was_cancelled_is_closed():
    """Its transport may find the answer in the same moment in which it is told to stop."""
    rig = armed(Rig("a", "b", a=hanging(), b=stream(*WHOLE)))
    send = rig.transport.send

    async def deaf(outbound, endpoint, timeout):
        try:
            return await send(outbound, endpoint, timeout) if endpoint.name == "b" else await stuck.wait()
        except asyncio.CancelledError:
            rig.transport.answers["a"] = stream(*WHOLE)
            return await send(outbound, endpoint, timeout)

    stuck = asyncio.Event()
    rig.transport.send = deaf
    assert (await (await Started(rig).after(LATE)).ended()).endswith(DONE)
    await settle()
    assert rig.transport.asked == ["b", "a"]
    assert told(rig) == [("a", "hedge_lost", False), ("b", None, True)]
    assert_nothing_left(rig)


@pytest.mark.parametrize("end", [ConnectFailed(), ValueError("a bug")], ids=["error", "bug"])
async def test_a_leg_that_fails_because_it_was_cancelled_has_lost_and_no_more(end):
    rig = armed(Rig("a", "b", a=hanging(), b=stream(*WHOLE)))
    send = rig.transport.send

    async def torn(outbound, endpoint, timeout):
        if endpoint.name == "b":
            return await send(outbound, endpoint, timeout)
        try:
            return await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise end from None

    rig.transport.send = torn
    assert (await (await Started(rig).after(LATE)).ended()).endswith(DONE)
    await settle()
    assert told(rig) == [("a", "hedge_lost", False), ("b", None, True)]
    assert (rig.pool["a"].learnt, len(rig.pool["a"].settlements)) == ([], 1)
    assert_nothing_left(rig)


async def test_no_hedge_once_the_call_has_committed_though_nobody_was_told_yet():
    gate = asyncio.Event()
    rig = armed(Rig("a", "b", a=stream(gate, *WHOLE), b=stream(*WHOLE)))
    call = await Started(rig).after(LATE - 0.1)
    gate.set()
    while not rig.pool["a"].answers:
        await asyncio.sleep(0)
    rig.clock.advance(0.1)
    assert (await call.ended()).endswith(DONE)
    assert rig.transport.asked == ["a"]
    assert_nothing_left(rig)


@pytest.mark.parametrize("who", ["first", "rival"])
async def test_one_that_fails_leaves_the_call_to_the_other(who):
    fails, comes = asyncio.Event(), asyncio.Event()
    answers = {"a": stream(fails, EndpointFailed()), "b": stream(comes, *WHOLE)}
    if who == "rival":
        answers = {"a": answers["b"], "b": answers["a"]}
    rig = armed(Rig("a", "b", "c", c=stream(*WHOLE), **answers))
    call = await Started(rig).after(LATE)
    fails.set()
    await settle()
    assert not call.task.done()
    loser, winner = ("a", "b") if who == "first" else ("b", "a")
    assert rig.pool[loser].inflight == 0
    comes.set()
    assert (await call.ended()).endswith(DONE)
    assert [(name, reason) for name, reason, _ in told(rig)] == [(loser, "5xx"), (winner, None)]
    assert [type(error) for error in rig.pool[loser].learnt] == [EndpointFailed]
    assert rig.pool[loser].settlements[0].outcome is Outcome.FAILURE
    assert rig.transport.asked == ["a", "b"]
    assert_nothing_left(rig)


async def test_first_attempt_that_fails_in_time_is_retried_and_not_hedged():
    rig = armed(Rig("a", "b", a=[ConnectFailed()], b=stream(*WHOLE)))
    assert (await Started(rig).ended()).endswith(DONE)
    assert told(rig) == [("a", "connect", False), ("b", None, False)]


async def test_when_both_fail_for_free_the_next_endpoint_is_tried():
    first = asyncio.Event()
    rig = armed(Rig("a", "b", "c", a=stream(first, EndpointBusy()), b=[ConnectFailed()], c=stream(*WHOLE)))
    call = await Started(rig).after(LATE)
    first.set()
    assert (await call.ended()).endswith(DONE)
    assert told(rig) == [("b", "connect", True), ("a", "busy", False), ("c", None, False)]
    assert_nothing_left(rig)


async def test_two_that_fail_at_work_use_up_the_attempts_of_a_call():
    first = asyncio.Event()
    rig = armed(
        Rig("a", "b", "c", a=stream(first, EndpointFailed()), b=[ClosedEarly()], c=stream(*WHOLE)), hedges=9
    )
    call = await Started(rig).after(LATE)
    first.set()
    with pytest.raises(EndpointFailed):
        await call.ended()
    assert rig.transport.asked == ["a", "b"]
    assert_nothing_left(rig)


async def test_what_the_caller_did_wrong_is_said_at_once():
    refusal = (400, JSON, [error_body(400, "BadRequestError", "too hot", "temperature")])
    rig = armed(Rig("a", "b", a=hanging(), b=[refusal]))
    call = await Started(rig).after(LATE)
    with pytest.raises(EndpointRejected):
        await call.ended()
    assert told(rig) == [("a", "hedge_lost", False), ("b", "rejected", True)]
    assert not rig.row.billed
    assert_nothing_left(rig)


async def test_first_byte_timeout_stays_final_whatever_the_hedge_said_afterwards():
    fails = asyncio.Event()
    rig = armed(Rig("a", "b", "c", a=hanging(), b=stream(fails, EndpointBusy()), c=stream(*WHOLE)))
    call = await Started(rig).after(5.0)
    assert not call.task.done()
    assert told(rig) == [("a", "first_byte", False)]
    fails.set()
    with pytest.raises(FirstByteTimeout):
        await call.ended()
    assert rig.transport.asked == ["a", "b"]
    assert (rig.row.billed, rig.row.finish) == (True, "timeout")
    assert_nothing_left(rig)


async def test_each_leg_has_a_first_byte_of_its_own():
    rig = armed(Rig("a", "b", a=hanging(), b=hanging()))
    call = await Started(rig).after(5.0)
    assert told(rig) == [("a", "first_byte", False)]
    await call.after(LATE)
    with pytest.raises(FirstByteTimeout):
        await call.ended()
    assert told(rig) == [("a", "first_byte", False), ("b", "first_byte", True)]
    assert_nothing_left(rig)


async def test_winner_that_breaks_after_the_commit_is_the_one_that_broke():
    rig = armed(Rig("a", "b", a=hanging(), b=stream(ROLE, HEL, StreamBroken())))
    call = await Started(rig).after(LATE)
    with pytest.raises(StreamBroken):
        await call.ended()
    assert told(rig) == [("a", "hedge_lost", False), ("b", "cut", True)]
    assert (rig.row.finish, rig.row.usage, rig.row.billed) == ("cut", Usage(5, 1), True)
    assert rig.pool["b"].settlements[0].outcome is Outcome.FAILURE
    assert_nothing_left(rig)


async def test_silence_of_the_winner_is_bounded_by_idle():
    rig = armed(Rig("a", "b", a=hanging(), b=stream(ROLE, HEL, asyncio.Event())))
    call = await Started(rig).after(LATE)
    await call.after(10.0)
    with pytest.raises(Exception, match="did not answer in time"):
        await call.ended()
    assert rig.row.reason == "idle"
    assert_nothing_left(rig)


@pytest.mark.parametrize("moment", [0.5, LATE], ids=["before the hedge", "during its connect"])
async def test_a_caller_who_leaves_ends_every_leg(moment):
    rig = armed(Rig("a", "b", a=hanging(), b=[asyncio.Event()]))
    call = await Started(rig).after(moment)
    rig.made.stopped = CallerGone()
    call.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call.ended()
    await settle()
    legs = [("b", "hang_up", True)] if moment == LATE else []
    assert told(rig) == [*legs, ("a", "hang_up", False)]
    assert (rig.row.billed, rig.row.usage, rig.row.finish) == (True, Usage(7, 0), "hang_up")
    assert rig.made.endpoint == "a"
    assert_nothing_left(rig)


async def test_a_caller_who_leaves_in_the_tick_of_the_commit_leaves_nothing_behind():
    gate = asyncio.Event()
    rig = armed(Rig("a", "b", a=hanging(), b=stream(gate, *WHOLE)))
    call = await Started(rig).after(LATE)
    gate.set()
    call.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call.ended()
    await settle()
    assert rig.row.billed
    assert_nothing_left(rig)


async def test_a_caller_who_leaves_between_commit_and_delivery_leaves_nothing_behind():
    gate = asyncio.Event()
    rig = armed(Rig("a", "b", a=hanging(), b=stream(gate, *WHOLE)))
    call = await Started(rig).after(LATE)
    gate.set()
    while not rig.pool["b"].answers:
        await asyncio.sleep(0)
    call.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call.ended()
    await settle()
    assert (rig.row.billed, rig.row.finish, rig.made.endpoint) == (True, "hang_up", "b")
    assert_nothing_left(rig)


async def test_the_end_of_the_whole_time_ends_both():
    rig = armed(Rig("a", "b", a=hanging(), b=hanging()))
    call = await Started(rig, deadline=rig.clock.now + 3).after(3.0)
    with pytest.raises(TotalTimeout):
        await call.ended()
    assert told(rig) == [("b", "total", True), ("a", "total", False)]
    assert (rig.row.status, rig.row.billed, rig.row.finish) == (504, True, "timeout")
    assert_nothing_left(rig)


async def test_no_hedge_without_budget():
    rig = armed(Rig("a", "b", a=hanging(), b=stream(*WHOLE)))
    rig.pool.hedge = Hedge(HedgeOptions(enabled=True, budget_ratio=0.05, minimum_calls=1))
    rig.pool.hedge.observe(make_call(), LATE)
    call = await Started(rig).after(LATE)
    assert rig.transport.asked == ["a"]
    assert [(note.at, note.what, note.told) for note in rig.made.notes] == [(LATE, "hedge_refused", "budget")]
    call.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call.ended()


async def test_no_hedge_without_room_and_nothing_is_paid_for_it():
    rig = armed(Rig("a", "b", a=hanging(), b=stream(*WHOLE)), hedges=1)
    rig.pool.full = True
    call = await Started(rig).after(LATE)
    assert rig.transport.asked == ["a"]
    assert [(note.what, note.told) for note in rig.made.notes] == [("hedge_refused", "room")]
    assert rig.pool.hedge.affordable
    call.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call.ended()


async def test_a_call_is_hedged_once():
    rig = armed(Rig("a", "b", "c", a=hanging(), b=hanging(), c=stream(*WHOLE)))
    call = await Started(rig).after(4 * LATE)
    assert rig.transport.asked == ["a", "b"]
    call.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call.ended()


async def test_whole_generated_answers_are_not_hedged():
    rig = armed(Rig("a", "b", a=[asyncio.Event()], b=stream(*WHOLE)))
    call = await Started(rig, streams=False).after(9 * LATE)
    assert rig.transport.asked == ["a"]
    call.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call.ended()


async def test_short_answers_are_hedged():
    body = b'{"object":"list","data":[{"index":0,"object":"embedding","embedding":[1]}],"model":"m-served",'
    body += b'"usage":{"prompt_tokens":5,"total_tokens":5}}'
    rig = armed(Rig("a", "b", a=[asyncio.Event()], b=[(200, JSON, [body])]))
    call = await Started(rig, streams=False, surface=SURFACES["/v1/embeddings"]).after(LATE)
    assert b"embedding" in await call.ended()
    assert told(rig) == [("a", "hedge_lost", False), ("b", None, True)]
    assert_nothing_left(rig)


async def test_first_events_are_learnt_and_what_was_not_awaited_counts_as_at_least():
    rig = armed(Rig("a", "b", a=hanging(), b=stream(*WHOLE)))
    seen: list[float] = []
    rig.pool.hedge.observe = lambda call, seconds: seen.append(seconds)
    await (await Started(rig).after(LATE)).ended()
    assert seen == [0.0, LATE]


async def test_a_bug_in_one_leg_ends_the_other_and_blames_nobody():
    gate = asyncio.Event()
    rig = armed(Rig("a", "b", a=hanging(), b=stream(gate, ValueError("a bug"))))
    call = await Started(rig).after(LATE)
    gate.set()
    with pytest.raises(ValueError, match="a bug"):
        await call.ended()
    assert rig.row.status == 500
    assert [each.outcome for each in rig.pool["b"].settlements] == [Outcome.IGNORED]
    assert_nothing_left(rig)


async def test_a_refused_call_starts_no_race():
    rig = armed(Rig("a", "b", a=hanging(), b=hanging()))
    rig.guard.refusal = RateLimitExceeded()
    with pytest.raises(RateLimitExceeded):
        await Started(rig).ended()
    assert rig.transport.asked == []


@pytest.mark.parametrize("seed", range(150))
async def test_whatever_happens_when_nothing_is_left(seed):
    """Answers, failures, hang-ups and times in any order: one row, no place, no body, no task left."""
    chance = random.Random(seed)
    gates = [asyncio.Event() for _ in range(6)]

    def script() -> list:
        start = [chance.choice(gates)] if chance.random() < 0.8 else []
        end = chance.choice(
            [WHOLE, WHOLE, FIRST, [ROLE, HEL, chance.choice(gates), LO, STOP, DONE], [EndpointFailed()],
             [ClosedEarly()], [EndpointBusy()], [StreamBroken()], [ROLE, chance.choice(gates), StreamBroken()]]
        )  # fmt: skip
        return (
            stream(*start, *end)
            if chance.random() < 0.8
            else [chance.choice([ConnectFailed(), asyncio.Event()])]
        )

    rig = armed(Rig("a", "b", "c", **{name: script() for name in "abc"}))
    call = Started(rig, deadline=rig.clock.now + 30)
    await settle()
    for _ in range(chance.randrange(1, 9)):
        step = chance.random()
        if step < 0.45:
            await rig.clock.run(chance.choice([0.1, LATE, 3.0]))
        elif step < 0.9:
            chance.choice(gates).set()
            for _ in range(chance.randrange(6)):
                await asyncio.sleep(0)
        else:
            call.task.cancel()
    for gate in gates:
        gate.set()
    await rig.clock.run(40)
    async with asyncio.timeout(5):
        while not call.task.done():
            await rig.clock.run(1)
            await asyncio.sleep(0.005)
    await settle()
    if not call.task.cancelled():
        call.task.exception()
    assert_nothing_left(rig)
    assert all(endpoint.answers <= 1 for endpoint in rig.pool.endpoints)
    outcomes = [each.settlement.outcome for each in rig.made.attempts]
    assert outcomes.count(Outcome.SUCCESS) <= 1
    assert sum(len(endpoint.settlements) for endpoint in rig.pool.endpoints) == len(rig.made.attempts)
