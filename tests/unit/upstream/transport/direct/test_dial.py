from __future__ import annotations

import asyncio
import socket

import pytest

from app.core.endpoint import EndpointSpec
from app.core.failures import ConnectFailed, ConnectTimeout
from app.upstream.transport.direct.dial import Dial
from app.upstream.transport.direct.pool import ConnectionPool
from app.upstream.transport.options import TransportOptions
from tests.clock import FakeClock

OPTIONS = TransportOptions(happy_eyeballs_delay=0.01)


class Wire:
    def __init__(self):
        self.aborted = False

    def abort(self):
        self.aborted = True


class Net:
    """Names and connections of a pretended network; "hangs" and "refuses" say what an address does."""

    def __init__(self, monkeypatch):
        self.found = ["10.0.0.1"]
        self.does = {}
        self.wires = {}
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "getaddrinfo", self.getaddrinfo)
        monkeypatch.setattr(loop, "create_connection", self.create_connection)

    async def getaddrinfo(self, host, port, **how):
        if not self.found:
            raise socket.gaierror("unknown name")
        if self.found == ["none"]:
            return []
        return [(0, 0, 0, "", (address, port)) for address in self.found]

    async def create_connection(self, factory, host, port, **how):
        connection = factory()
        wire = self.wires[host] = Wire()
        if self.does.get(host) == "refuses":
            raise ConnectionRefusedError
        connection.connection_made(wire)
        if self.does.get(host) == "hangs":
            await asyncio.Event().wait()
        return wire, connection


@pytest.fixture
async def net(monkeypatch):
    return Net(monkeypatch)


@pytest.fixture
def origin():
    return ConnectionPool(OPTIONS, FakeClock()).origin(EndpointSpec("a", "http://gpu.example:8000"))


async def test_winner_is_counted_as_open(net, origin):
    connection = await Dial(origin, OPTIONS).connect(1.0)
    assert origin.open == {connection}
    assert origin.dialling == 0


async def test_second_address_is_tried_when_the_first_hangs_and_the_loser_is_dropped(net, origin):
    net.found = ["10.0.0.1", "10.0.0.2", "10.0.0.2"]
    net.does = {"10.0.0.1": "hangs"}
    await Dial(origin, OPTIONS).connect(1.0)
    assert net.wires["10.0.0.1"].aborted
    assert not net.wires["10.0.0.2"].aborted
    assert len(origin.open) == 1


async def test_second_address_is_tried_when_the_first_refuses(net, origin):
    net.found = ["10.0.0.1", "10.0.0.2"]
    net.does = {"10.0.0.1": "refuses"}
    assert await Dial(origin, OPTIONS).connect(1.0)


@pytest.mark.parametrize("found", [[], ["none"], ["10.0.0.1", "10.0.0.2"]])
async def test_no_name_no_address_or_none_that_answers_is_a_connect_failure(net, origin, found):
    net.found = found
    net.does = dict.fromkeys(found, "refuses")
    with pytest.raises(ConnectFailed):
        await Dial(origin, OPTIONS).connect(1.0)
    assert not origin.open


async def test_connecting_for_too_long_is_a_connect_timeout_and_drops_the_socket(net, origin):
    net.does = {"10.0.0.1": "hangs"}
    with pytest.raises(ConnectTimeout):
        await Dial(origin, OPTIONS).connect(0.02)
    assert net.wires["10.0.0.1"].aborted
    assert (origin.open, origin.dialling) == (set(), 0)


async def test_cancelled_dial_drops_the_socket(net, origin):
    net.does = {"10.0.0.1": "hangs"}
    dialling = asyncio.create_task(Dial(origin, OPTIONS).connect(5.0))
    while not net.wires:
        await asyncio.sleep(0)
    dialling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dialling
    assert net.wires["10.0.0.1"].aborted
    assert not origin.open


async def test_address_is_not_looked_up(net):
    net.found = []
    literal = ConnectionPool(OPTIONS, FakeClock()).origin(EndpointSpec("a", "http://10.0.0.9:8000"))
    await Dial(literal, OPTIONS).connect(1.0)
    assert list(net.wires) == ["10.0.0.9"]
