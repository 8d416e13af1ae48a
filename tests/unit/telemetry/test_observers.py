from __future__ import annotations

from app.core.errors import InvalidKey
from app.telemetry.observers import DELAY, Observers
from tests.clock import FakeClock
from tests.unit.telemetry.trail import GPU_A, a_call, an_end


class Listening:
    def __init__(self, error=None):
        self.heard = []
        self.error = error

    def hear(self, word):
        self.heard.append(word)
        if self.error is not None:
            raise self.error

    def rejected(self, call, error):
        self.hear("rejected")

    def attempted(self, call, endpoint, settlement):
        self.hear("attempted")

    def settled(self, call, settlement):
        self.hear("settled")

    def closed(self, call):
        self.hear("closed")


def tell(observers):
    observers.rejected(a_call(), InvalidKey())
    observers.attempted(a_call(), GPU_A, an_end())
    observers.settled(a_call(), an_end())
    observers.closed(a_call())


def test_everybody_hears_everything_in_order_when_it_is_told():
    both = [Listening(), Listening()]
    observers = Observers(both, FakeClock())
    tell(observers)
    assert [each.heard for each in both] == [[], []]
    observers.flush()
    assert [each.heard for each in both] == [["rejected", "attempted", "settled", "closed"]] * 2
    observers.flush()
    assert len(both[0].heard) == 4


def test_stream_that_was_carried_on_is_news():
    class Ear:
        def __init__(self):
            self.heard = []

        def resumed(self, call, outcome):
            self.heard.append((call.id, outcome))

    ear, call = Ear(), a_call()
    observers = Observers([ear, Listening()], FakeClock())
    observers.resumed(call, "failed")
    observers.flush()
    assert ear.heard == [(call.id, "failed")]


def test_news_wait_a_twentieth_of_a_second_at_most():
    clock, listening = FakeClock(), Listening()
    observers = Observers([listening], clock)
    for _ in range(2):
        listening.heard.clear()
        tell(observers)
        clock.advance(DELAY - 0.001)
        assert listening.heard == []
        clock.advance(0.001)
        assert len(listening.heard) == 4


def test_many_news_are_told_at_once():
    listening = Listening()
    observers = Observers([listening], FakeClock())
    for _ in range(15):
        tell(observers)
    assert listening.heard == []
    tell(observers)
    assert len(listening.heard) == 64


def test_who_lacks_a_method_misses_that_event_only():
    class Deaf:
        def __init__(self):
            self.heard = []

        def settled(self, call, settlement):
            self.heard.append(call)

    deaf = Deaf()
    observers = Observers([deaf], FakeClock())
    tell(observers)
    observers.flush()
    assert len(deaf.heard) == 1


def test_one_that_fails_keeps_nobody_from_hearing_and_is_logged_once(caplog):
    broken, sound = Listening(ZeroDivisionError()), Listening()
    observers = Observers([broken, sound], FakeClock())
    tell(observers)
    tell(observers)
    observers.flush()
    assert len(sound.heard) == 8
    assert observers.failures == {broken: 8}
    assert caplog.text.count("an observer failed: Listening") == 1
    assert "ZeroDivisionError" in caplog.text
