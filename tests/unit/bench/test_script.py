"""The script's figures are of the gateway: the same each time, and not of the script's own length."""

from __future__ import annotations

import uvloop

from bench import script
from bench.counting import total
from bench.script import play


def played(monkeypatch, short, long):
    for name, value in {"SAMPLES": 1, "CALLS": 1, "REMEMBERED": 1, "SHORT": short, "LONG": long}.items():
        monkeypatch.setattr(script, name, value)
    return uvloop.run(play())


def test_an_event_costs_the_same_in_longer_streams(monkeypatch):
    one, other = played(monkeypatch, 2, 6), played(monkeypatch, 3, 12)
    assert total(one.event).calls > 10
    for count, again in zip(total(one.event), total(other.event), strict=True):
        assert abs(count - again) < 0.1 * count
    assert total(one.stream).instructions > total(one.request).instructions > 10 * total(one.event).calls
    assert any(name.startswith("app/gateway/") for name in one.request)
    assert not any(name.startswith("bench/") for name in one.request)
