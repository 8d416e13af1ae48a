"""Time stands still between steps, and chores never fall due."""

from __future__ import annotations

import asyncio

from bench.clock import CHORE, ScriptClock


def test_what_falls_due_is_called_in_order():
    clock, heard = ScriptClock(), []
    clock.call_later(0.02, lambda: heard.append(("late", clock.monotonic())))
    clock.call_later(0.01, lambda: heard.append(("soon", clock.monotonic())))
    clock.call_later(0.01, lambda: heard.append("never")).cancel()
    clock.advance(0.015)
    assert heard == [("soon", 0.01)]
    clock.advance(0.015)
    assert heard[1:] == [("late", 0.02)]
    assert clock.monotonic() == 0.03


def test_chores_never_fall_due():
    clock, heard = ScriptClock(), []
    clock.call_later(CHORE, lambda: heard.append("chore"))
    clock.advance(1000)
    assert heard == []


async def test_sleepers_wake_with_the_step_that_reaches_them():
    clock = ScriptClock()
    sleeper = asyncio.create_task(clock.sleep(0.1))
    await asyncio.sleep(0)
    clock.advance(0.05)
    await asyncio.sleep(0)
    assert not sleeper.done()
    clock.advance(0.05)
    await sleeper


async def test_a_sleeper_that_was_cancelled_is_left_alone():
    clock = ScriptClock()
    sleeper = asyncio.create_task(clock.sleep(0.1))
    await asyncio.sleep(0)
    sleeper.cancel()
    await asyncio.wait({sleeper})
    clock.advance(0.2)
