"""A deadline cancels its own task when a limit is over, and never takes another's cancellation for its own."""

import asyncio

import pytest
from pydantic import ValidationError

from app.core.failures import FirstByteTimeout, IdleTimeout, TotalTimeout
from app.resilience.deadline import Deadline, TimeoutOptions
from tests.clock import FakeClock, settle


@pytest.fixture
def clock():
    return FakeClock()


async def guarded(deadline, until=None, watch=None, swallow=None):
    """A call that never ends by itself."""
    with deadline:
        if until is not None:
            deadline.until(until, TotalTimeout)
        if watch is not None:
            deadline.watch(watch, FirstByteTimeout)
        await asyncio.Event().wait()


async def running(coroutine):
    task = asyncio.create_task(coroutine)
    await settle()
    return task


async def test_the_outer_limit_ends_the_call(clock):
    task = await running(guarded(Deadline(clock), until=clock.now + 5))
    await clock.run(4.9)
    assert not task.done()
    await clock.run(0.1)
    with pytest.raises(TotalTimeout):
        await task
    assert not task.cancelled()
    assert task.cancelling() == 0


async def test_the_inner_limit_ends_the_call_first(clock):
    task = await running(guarded(Deadline(clock), until=clock.now + 5, watch=2))
    await clock.run(2)
    with pytest.raises(FirstByteTimeout):
        await task


async def test_the_outer_limit_ends_a_call_whose_inner_one_is_longer(clock):
    task = await running(guarded(Deadline(clock), until=clock.now + 5, watch=7))
    await clock.run(5)
    with pytest.raises(TotalTimeout):
        await task


async def test_a_limit_already_over_ends_the_call_at_once(clock):
    task = await running(guarded(Deadline(clock), until=clock.now - 1))
    await clock.run(0)
    with pytest.raises(TotalTimeout):
        await task


async def test_a_touch_counts_the_inner_limit_anew(clock):
    deadline = Deadline(clock)
    task = await running(guarded(deadline, watch=3))
    for _ in range(5):
        await clock.run(2)
        deadline.touch(clock.now)
    await clock.run(2.9)
    assert not task.done()
    await clock.run(0.1)
    with pytest.raises(FirstByteTimeout):
        await task


async def test_touches_never_move_the_outer_limit(clock):
    deadline = Deadline(clock)
    task = await running(guarded(deadline, until=clock.now + 5, watch=3))
    for _ in range(5):
        await clock.run(1)
        deadline.touch(clock.now)
    with pytest.raises(TotalTimeout):
        await task


async def test_a_touch_sets_no_timer(clock):
    deadline = Deadline(clock)
    task = await running(guarded(deadline, watch=3))
    before = len(clock._due)
    for _ in range(1000):
        deadline.touch(clock.now)
    assert len(clock._due) == before
    task.cancel()
    await asyncio.wait([task])


async def test_a_call_with_ordinary_limits_sets_one_timer(clock):
    deadline = Deadline(clock)
    task = await running(guarded(deadline, until=clock.now + 590, watch=120))
    deadline.watch(300, IdleTimeout)
    assert len(clock._due) == 1
    await clock.run(299)
    assert not task.done()
    assert len(clock._due) == 1
    await clock.run(1)
    with pytest.raises(IdleTimeout):
        await task


async def test_a_new_watch_replaces_the_old_one_both_ways(clock):
    deadline = Deadline(clock)
    task = await running(guarded(deadline, watch=3))
    deadline.watch(10, IdleTimeout)
    await clock.run(9)
    assert not task.done()
    deadline.watch(0.5, IdleTimeout)
    await clock.run(0.5)
    with pytest.raises(IdleTimeout):
        await task


async def test_without_an_inner_limit_only_the_outer_one_counts(clock):
    deadline = Deadline(clock)
    task = await running(guarded(deadline, until=clock.now + 100, watch=3))
    deadline.watch(None, FirstByteTimeout)
    await clock.run(99)
    assert not task.done()
    await clock.run(1)
    with pytest.raises(TotalTimeout):
        await task


async def test_with_no_limit_at_all_nothing_happens(clock):
    deadline = Deadline(clock)
    task = await running(guarded(deadline))
    deadline.watch(None, FirstByteTimeout)
    await clock.run(10_000)
    assert not task.done()
    task.cancel()
    await asyncio.wait([task])


async def test_a_hang_up_stays_a_hang_up(clock):
    task = await running(guarded(Deadline(clock), until=clock.now + 5))
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_a_hang_up_just_before_the_limit_wins(clock):
    task = await running(guarded(Deadline(clock), until=clock.now + 5))
    task.cancel()
    clock.advance(5)
    await asyncio.wait([task])
    assert task.cancelled()
    assert task.cancelling() == 1


async def test_a_hang_up_just_after_the_limit_wins(clock):
    task = await running(guarded(Deadline(clock), until=clock.now + 5))
    clock.advance(5)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert task.cancelling() == 1


async def test_another_timeout_inside_keeps_its_own_error(clock):
    async def call():
        with Deadline(clock) as deadline:
            deadline.until(clock.now + 5, TotalTimeout)
            try:
                async with asyncio.timeout(0):
                    await asyncio.Event().wait()
            except TimeoutError:
                return "inner"

    assert await call() == "inner"


async def test_a_cancellation_older_than_the_deadline_is_not_mistaken(clock):
    said = []

    async def call():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            try:
                await guarded(Deadline(clock), until=clock.now + 1)
            except TotalTimeout as error:
                said.append(error)
            raise

    task = await running(call())
    task.cancel()
    await settle()
    await clock.run(1)
    await asyncio.wait([task])
    assert len(said) == 1
    assert task.cancelled()


async def test_an_end_in_time_leaves_no_timer_and_no_trace(clock):
    async def call():
        with Deadline(clock) as deadline:
            deadline.until(clock.now + 5, TotalTimeout)
        await asyncio.sleep(0)
        return "fine"

    assert await call() == "fine"
    assert [timer.callback for _, _, timer in clock._due] == [None]


async def test_other_errors_pass_even_when_the_limit_is_over(clock):
    async def call():
        with Deadline(clock) as deadline:
            deadline.until(clock.now + 5, TotalTimeout)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise ValueError from None

    task = await running(call())
    await clock.run(5)
    with pytest.raises(ValueError):
        await task
    assert task.cancelling() == 0


async def test_by_hand_the_verdict_is_given_once(clock):
    deadline = Deadline(clock)
    said = []

    async def call():
        deadline.start()
        deadline.until(clock.now + 5, TotalTimeout)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            said.extend([deadline.verdict(), deadline.verdict()])
        deadline.watch(1, IdleTimeout)
        deadline.until(clock.now + 100, TotalTimeout)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            said.append(deadline.verdict())
        deadline.stop()
        deadline.stop()
        await asyncio.sleep(0)

    task = await running(call())
    await clock.run(5)
    await clock.run(1)
    await task
    assert [type(error) for error in said] == [TotalTimeout, type(None), IdleTimeout]
    assert task.cancelling() == 0


async def test_by_hand_a_hang_up_has_no_verdict(clock):
    deadline = Deadline(clock)
    said = []

    async def call():
        deadline.start()
        deadline.until(clock.now + 5, TotalTimeout)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            said.append(deadline.verdict())
            raise
        finally:
            deadline.stop()

    task = await running(call())
    clock.advance(5)
    task.cancel()
    await asyncio.wait([task])
    assert said == [None]
    assert task.cancelled()


async def test_limits_may_be_set_before_it_starts(clock):
    deadline = Deadline(clock)
    deadline.until(clock.now + 5, TotalTimeout)
    assert not clock._due
    task = await running(guarded(deadline))
    await clock.run(5)
    with pytest.raises(TotalTimeout):
        await task


def test_needs_a_task_to_bind(clock):
    loop = asyncio.new_event_loop()
    said = []

    def outside():
        with pytest.raises(RuntimeError) as refusal:
            Deadline(clock).start()
        said.append(str(refusal.value))

    loop.call_soon(outside)
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    assert said == ["a deadline needs a task to bind"]


def test_first_byte_may_take_longer_for_longer_prompts():
    timeouts = TimeoutOptions()
    assert timeouts.first_byte_for(0) == 120
    assert timeouts.first_byte_for(10_000) == 140
    assert timeouts.first_byte_for(1_000_000) == 600


def test_a_bare_duration_fixes_the_first_byte():
    timeouts = TimeoutOptions.model_validate({"first_byte": "30s"})
    assert timeouts.first_byte_for(0) == timeouts.first_byte_for(1_000_000) == 30
    assert TimeoutOptions.model_validate({"first_byte": 0.5}).first_byte_for(9_000) == 0.5


@pytest.mark.parametrize("value", [{"connect": 0}, {"idle": -1}, {"first_byte": "soon"}, {"first_bite": 1}])
def test_timeouts_that_make_no_sense_are_refused(value):
    with pytest.raises(ValidationError):
        TimeoutOptions.model_validate(value)


class Held:
    """A loop that was busy when a timer was due: time goes on, and the timer runs when it is let."""

    def __init__(self, clock):
        self.clock = clock
        self.timers = []

    def __getattr__(self, name):
        return getattr(self.clock, name)

    def call_later(self, delay, callback):
        timer = self.clock.call_later(delay, callback)
        self.timers.append((self.clock.now + delay, timer))
        return timer

    def stand_still(self, seconds):
        """No timer fires meanwhile; those that are due fire at the end."""
        self.clock._move(self.clock.now + seconds)
        for timer in [timer for due, timer in self.timers if due <= self.clock.now]:
            callback, timer.callback = timer.callback, None
            if callback is not None:
                callback()


async def test_time_in_which_the_loop_stood_still_is_no_silence(clock):
    held = Held(clock)
    deadline = Deadline(held)
    task = await running(guarded(deadline, watch=3))
    held.stand_still(10)
    await settle()
    assert not task.done(), "what came meanwhile has not been looked at"
    deadline.touch(clock.now)
    await clock.run(2.9)
    assert not task.done()
    await clock.run(0.1)
    with pytest.raises(FirstByteTimeout):
        await task


async def test_a_loop_that_stands_still_again_and_again_spares_nobody_for_ever(clock):
    held = Held(clock)
    task = await running(guarded(Deadline(held), watch=3))
    held.stand_still(10)
    held.stand_still(10)
    with pytest.raises(FirstByteTimeout):
        await task


async def test_the_outer_limit_counts_whatever_the_loop_did(clock):
    held = Held(clock)
    task = await running(guarded(Deadline(held), until=clock.now + 5))
    held.stand_still(10)
    with pytest.raises(TotalTimeout):
        await task
