"""Leases: settled once, last first, to the end."""

from __future__ import annotations

import pytest

from app.core.errors import Overloaded
from app.core.guard import Lease
from app.core.outcome import ABANDONED


class Recorder:
    """A guard and a gate that write down what happens to them."""

    ready = True

    def __init__(self, name: str, log: list[str], *, breaks: bool = False) -> None:
        self.name, self.log, self.breaks = name, log, breaks

    def admit(self, call):
        self.log.append(f"admit {self.name}")
        return Noted(self)


class AsyncRecorder(Recorder):
    async def admit(self, call):
        return super().admit(call)


class Noted:
    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    def answered(self) -> None:
        self.recorder.log.append(f"answered {self.recorder.name}")

    def __call__(self, settlement) -> None:
        self.recorder.log.append(f"release {self.recorder.name}")
        if self.recorder.breaks:
            raise RuntimeError(self.recorder.name)


class Refusing:
    ready = False

    def admit(self, call):
        raise Overloaded


async def test_releases_run_last_taken_first():
    log: list[str] = []
    lease = Lease()
    await lease.take(None, [AsyncRecorder("a", log), AsyncRecorder("b", log)])
    lease.settle(ABANDONED)
    assert log == ["admit a", "admit b", "release b", "release a"]


async def test_a_lease_is_settled_once():
    log: list[str] = []
    lease = Lease()
    lease.enter(None, [Recorder("a", log)])
    lease.settle(ABANDONED)
    lease.settle(ABANDONED)
    assert log.count("release a") == 1
    assert lease.settled


async def test_one_broken_release_keeps_no_other(caplog):
    log: list[str] = []
    lease = Lease()
    lease.enter(None, [Recorder("a", log), Recorder("b", log, breaks=True)])
    lease.settle(ABANDONED)
    assert log[-1] == "release a"
    assert "a release failed" in caplog.text


async def test_what_was_taken_before_a_refusal_is_released_by_settling():
    log: list[str] = []
    lease = Lease()
    with pytest.raises(Overloaded):
        lease.enter(None, [Recorder("a", log), Refusing()])
    lease.settle(ABANDONED)
    assert log == ["admit a", "release a"]


async def test_gates_hear_of_the_first_event():
    log: list[str] = []
    lease = Lease()
    lease.enter(None, [Recorder("a", log), Recorder("b", log)])
    lease.answered()
    assert log[-2:] == ["answered a", "answered b"]


def test_a_lease_shows_what_it_holds():
    assert repr(Lease()) == "<Lease held=0 settled=False>"
