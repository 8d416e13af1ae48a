"""What happens after a first attempt has failed."""

import pytest

from app.core.failures import ClosedEarly, ConnectFailed, EndpointError
from app.resilience.retry import RetryOptions, retrying


class Line:
    """Fails with each error in turn, then answers; writes down how long it was made to wait."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.attempts = 0
        self.waits: list[float] = []
        self.last: Exception | None = None

    async def attempt(self) -> str:
        self.attempts += 1
        if self.errors:
            self.last = self.errors.pop(0)
            raise self.last
        return "answer"

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    async def run(self, may_go_on=lambda error: isinstance(error, EndpointError)) -> str:
        policy = retrying(RetryOptions(), may_go_on, free=lambda: self.last.free, sleep=self.sleep)
        return await policy(self.attempt)


async def test_goes_on_until_an_attempt_succeeds():
    line = Line(ClosedEarly(), ConnectFailed(), ClosedEarly())
    assert await line.run() == "answer"
    assert line.attempts == 4


async def test_the_last_error_is_raised_as_it_is():
    last = ClosedEarly("the last")
    asked = []

    def may_go_on(error):
        asked.append(error)
        return len(asked) < 2

    line = Line(ClosedEarly(), last, ClosedEarly())
    with pytest.raises(ClosedEarly) as raised:
        await line.run(may_go_on)
    assert raised.value is last
    assert len(asked) == line.attempts == 2


async def test_other_errors_are_not_retried():
    line = Line(ValueError("a bug"))
    with pytest.raises(ValueError, match="a bug"):
        await line.run()
    assert line.attempts == 1


async def test_free_failures_cost_no_time():
    line = Line(*[ConnectFailed() for _ in range(20)])
    await line.run()
    assert line.waits == []


async def test_costly_failures_wait_at_random_and_not_for_long():
    line = Line(*[ClosedEarly() for _ in range(200)])
    await line.run()
    assert len(line.waits) == 200
    assert line.waits[0] <= 0.025
    assert max(line.waits) <= 0.25
    assert len(set(line.waits)) > 100


async def test_reads_as_a_loop_too():
    line = Line(ConnectFailed())
    async for attempt in retrying(RetryOptions(), lambda error: True, free=lambda: True):
        with attempt:
            said = await line.attempt()
    assert (said, line.attempts) == ("answer", 2)
