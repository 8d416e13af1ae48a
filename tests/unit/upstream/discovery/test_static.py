from __future__ import annotations

from app.upstream.discovery.static import Static
from tests.unit.upstream.fleets import spec


async def test_it_tells_the_fleet_once():
    told = [specs async for specs in Static([spec("a"), spec("b")]).watch()]
    assert told == [(spec("a"), spec("b"))]
