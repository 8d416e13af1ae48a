from __future__ import annotations

from app.server.stall import Stall


def test_buffer_that_never_shrinks_is_stalled_since_it_was_first_seen():
    stall = Stall()
    assert [stall.lasts(now, 100) for now in (10.0, 20.0, 70.0)] == [0.0, 10.0, 60.0]


def test_every_byte_taken_counts_as_progress():
    stall = Stall()
    stall.lasts(10.0, 100)
    assert stall.lasts(69.0, 99) == 0.0
    assert stall.lasts(80.0, 99) == 11.0


def test_reset_forgets():
    stall = Stall()
    stall.lasts(10.0, 100)
    stall.reset()
    assert stall.lasts(90.0, 100) == 0.0
