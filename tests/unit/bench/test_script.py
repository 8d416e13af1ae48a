"""The script's figures are of the gateway, and of all that a call walks through."""

from __future__ import annotations

import uvloop

from bench import script
from bench.counting import total
from bench.script import play


def test_a_call_is_counted_from_door_to_ledger(monkeypatch):
    for name, value in {"SAMPLES": 1, "CALLS": 1, "REMEMBERED": 1, "SHORT": 2, "LONG": 6}.items():
        monkeypatch.setattr(script, name, value)
    found = uvloop.run(play())
    request, event, stream = map(total, (found.request, found.event, found.stream))
    assert stream.instructions > request.instructions > event.instructions > event.calls > 5
    for folder in ("server", "api", "gateway", "upstream", "tenancy", "resilience", "state"):
        assert any(name.startswith(f"app/{folder}/") for name in found.request), folder
    assert any(name.startswith("app/wire/") for name in found.event)
    assert not any(name.startswith("bench/") for name in found.request)
