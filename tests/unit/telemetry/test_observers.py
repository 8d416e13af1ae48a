from __future__ import annotations

from app.core.errors import InvalidKey
from app.telemetry.observers import Observers
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


def tell(observers):
    observers.rejected(a_call(), InvalidKey())
    observers.attempted(a_call(), GPU_A, an_end())
    observers.settled(a_call(), an_end())


def test_everybody_hears_everything():
    both = [Listening(), Listening()]
    tell(Observers(both))
    assert [each.heard for each in both] == [["rejected", "attempted", "settled"]] * 2


def test_one_that_fails_keeps_nobody_from_hearing_and_is_logged_once(caplog):
    broken, sound = Listening(ZeroDivisionError()), Listening()
    observers = Observers([broken, sound])
    tell(observers)
    tell(observers)
    assert len(sound.heard) == 6
    assert observers.failures == {broken: 6}
    assert caplog.text.count("an observer failed: Listening") == 1
    assert "ZeroDivisionError" in caplog.text
