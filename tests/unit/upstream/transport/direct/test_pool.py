from __future__ import annotations

import asyncio

import pytest

from app.core.endpoint import EndpointSpec, Tls
from app.upstream.transport.direct.pool import ConnectionPool
from app.upstream.transport.options import TransportOptions
from tests.clock import FakeClock, settle


class Idle:
    """A connection as its pool sees it; `abort` reports the loss as the event loop would."""

    def __init__(self, origin):
        self.closed = False
        self.idle_since = 0.0
        self.origin = origin
        origin.opened(self)

    def abort(self):
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self.origin.lost, self)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def pool(clock):
    return ConnectionPool(TransportOptions(), clock)


@pytest.fixture
def origin(pool):
    return pool.origin(EndpointSpec("a", "http://10.0.0.1:8000"))


async def test_connection_used_last_is_taken_first(origin):
    first, second = Idle(origin), Idle(origin)
    origin.keep(first)
    origin.keep(second)
    assert [origin.take(), origin.take(), origin.take()] == [second, first, None]


async def test_nothing_idle_for_four_seconds_is_taken(origin, clock):
    old = Idle(origin)
    origin.keep(old)
    clock.now += 4.0
    assert origin.take() is None
    assert old.closed


async def test_older_ones_expire_while_the_last_is_taken(origin, clock):
    old, young = Idle(origin), Idle(origin)
    origin.keep(old)
    clock.now += 2.0
    origin.keep(young)
    clock.now += 2.0
    assert origin.take() is young
    assert old.closed
    assert not young.closed


async def test_connection_that_closed_while_idle_is_passed_over(origin):
    good, dead = Idle(origin), Idle(origin)
    origin.keep(good)
    origin.keep(dead)
    dead.closed = True
    assert origin.take() is good


async def test_lost_connection_is_neither_open_nor_idle(origin):
    connection = Idle(origin)
    origin.keep(connection)
    connection.abort()
    await settle()
    assert repr(origin) == "<Origin 10.0.0.1:8000 open=0 idle=0>"


async def test_sweep_closes_the_expired_and_forgets_unused_origins(pool, origin, clock):
    origin.keep(Idle(origin))
    clock.advance(3.0)
    origin.keep(Idle(origin))
    clock.advance(1.0)
    await settle()
    assert repr(pool) == "<ConnectionPool [<Origin 10.0.0.1:8000 open=1 idle=1>]>"
    clock.advance(4.0)
    await settle()
    other = pool.origin(EndpointSpec("b", "http://10.0.0.2"))
    other.keep(Idle(other))
    clock.advance(4.0)
    assert repr(pool) == "<ConnectionPool [<Origin 10.0.0.2 open=1 idle=0>]>"


async def test_origin_is_not_forgotten_while_it_is_dialled(pool, origin, clock):
    origin.dialling = 1
    pool.arm()
    clock.advance(4.0)
    assert pool.origin(EndpointSpec("a", "http://10.0.0.1:8000")) is origin


async def test_endpoints_with_other_tls_settings_share_nothing(pool):
    plain = EndpointSpec("a", "https://h")
    assert pool.origin(plain) is pool.origin(EndpointSpec("b", "https://h"))
    assert pool.origin(plain) is not pool.origin(EndpointSpec("c", "https://h", tls=Tls(verify=False)))


async def test_closing_drops_all_and_waits_until_they_are_gone(pool, origin):
    kept, used = Idle(origin), Idle(origin)
    origin.keep(kept)
    await pool.aclose()
    assert kept.closed
    assert used.closed
    assert not origin.open


async def test_closed_pool_keeps_and_counts_nothing(pool, origin):
    await pool.aclose()
    for put in (origin.keep, origin.opened):
        late = Idle.__new__(Idle)
        late.closed, late.origin = False, origin
        put(late)
        assert late.closed
    assert not origin.open


async def test_connection_lost_before_it_was_counted_is_not_counted(origin):
    late = Idle.__new__(Idle)
    late.closed = True
    origin.opened(late)
    assert not origin.open


@pytest.mark.parametrize(
    ("url", "authority", "literal"),
    [
        ("http://10.0.0.1:8000", "10.0.0.1:8000", True),
        ("http://[::1]:8000", "[::1]:8000", True),
        ("http://[fe80::1%eth0]:8000", "[fe80::1]:8000", True),
        ("http://vllm.example.com", "vllm.example.com", False),
        ("https://vllm.example.com:443", "vllm.example.com", False),
        ("https://vllm.example.com:80", "vllm.example.com:80", False),
    ],
)
def test_host_header_has_brackets_no_zone_and_only_unusual_ports(pool, url, authority, literal):
    origin = pool.origin(EndpointSpec("a", url))
    assert (origin.authority, origin.literal) == (authority, literal)
