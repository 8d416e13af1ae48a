from __future__ import annotations

import asyncio

import pytest

from app.core.failures import ClosedEarly, StreamBroken
from app.upstream.transport.direct.connection import Connection
from app.upstream.transport.options import TransportOptions
from tests.clock import settle

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


class Home:
    def __init__(self):
        self.kept = []
        self.gone = []

    def keep(self, connection):
        self.kept.append(connection)

    def lost(self, connection):
        self.gone.append(connection)


class Wire:
    def __init__(self):
        self.told = []
        self.unsent = 0

    def write(self, data):
        self.told.append(("write", data))

    def writelines(self, parts):
        self.told.append(("writelines", len(parts)))

    def get_write_buffer_size(self):
        return self.unsent

    def abort(self):
        self.told.append("abort")

    def pause_reading(self):
        self.told.append("pause")

    def resume_reading(self):
        self.told.append("resume")


@pytest.fixture
def home():
    return Home()


@pytest.fixture
def wire():
    return Wire()


@pytest.fixture
def connection(home, wire):
    connection = Connection(home, TransportOptions())
    connection.connection_made(wire)
    return connection


async def start(connection, body=b"b"):
    task = asyncio.create_task(connection.exchange(b"h", body))
    await settle()
    return task


async def test_small_request_is_one_write_and_a_large_one_is_not_copied(connection, wire):
    first = await start(connection)
    connection.data_received(ANSWER)
    await first
    second = await start(connection, bytes(40_000))
    connection.data_received(ANSWER)
    await second
    assert wire.told == [("write", b"hb"), ("writelines", 2)]


async def test_finished_exchange_sends_the_connection_home(connection, home):
    exchange = await start(connection)
    connection.data_received(ANSWER)
    await exchange
    assert home.kept == [connection]
    assert connection.heard


async def test_answer_before_the_request_has_left_costs_the_connection(connection, home, wire):
    exchange = await start(connection)
    wire.unsent = 1
    connection.data_received(ANSWER)
    await exchange
    assert home.kept == []
    assert connection.closed
    assert wire.told[-1] == "abort"


async def test_bytes_that_nobody_asked_for_cost_the_connection(connection, wire):
    connection.data_received(b"x")
    assert connection.closed
    assert wire.told == ["abort"]


async def test_closed_or_unmade_connection_carries_nothing(connection, home):
    connection.eof_received()
    for useless in (connection, Connection(home, TransportOptions())):
        with pytest.raises(ClosedEarly):
            await useless.exchange(b"h", b"")


async def test_death_unheard_says_so(connection, home):
    exchange = await start(connection)
    connection.connection_lost(ConnectionResetError())
    with pytest.raises(ClosedEarly):
        await exchange
    assert not connection.heard
    assert home.gone == [connection]


@pytest.mark.parametrize(("error", "reason"), [(None, "cut"), (ConnectionResetError(), "reset")])
async def test_death_in_the_body_is_cut_or_reset(connection, error, reason):
    exchange = await start(connection)
    connection.data_received(ANSWER[:-1])
    body = (await exchange).body
    if error is None:
        connection.eof_received()
    connection.connection_lost(error)
    assert await body.read() == b"{"
    with pytest.raises(StreamBroken) as broken:
        await body.read()
    assert broken.value.reason == reason


async def test_pause_and_resume_reach_the_socket_once_and_never_a_closed_one(connection, wire):
    for _ in range(2):
        connection.pause()
    for _ in range(2):
        connection.resume()
    connection.pause()
    connection.abort()
    connection.resume()
    assert wire.told == ["pause", "resume", "pause", "abort"]


async def test_kept_connection_reads(connection, wire):
    exchange = await start(connection)
    connection.pause()
    connection.data_received(ANSWER)
    await exchange
    assert wire.told[-1] == "resume"


async def test_unmade_connection_can_be_aborted(home):
    connection = Connection(home, TransportOptions())
    connection.abort()
    assert connection.closed
