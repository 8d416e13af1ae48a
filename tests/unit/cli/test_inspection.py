from __future__ import annotations

import asyncio
import socket

import pytest

from app.cli.inspection import Inspector
from app.core.clock import SystemClock
from app.core.endpoint import EndpointSpec
from app.simulator import Simulator
from app.upstream.control import ControlPlane


@pytest.fixture
async def inspect():
    clock = SystemClock()
    control = ControlPlane(clock)
    inspector = Inspector(control, clock, timeout=5.0)

    async def look(url, mapped=(), **fields):
        return await inspector.inspect(EndpointSpec("gpu", url, **fields), mapped, 256)

    yield look
    await control.aclose()


@pytest.fixture
async def engine():
    async with Simulator(served_names=("m", "n"), data_parallel=2) as simulator:
        yield simulator


async def test_a_good_endpoint_has_no_problem_and_tells_its_room(inspect, engine):
    found = await inspect(engine.url, ["m"])
    assert found.problem == ""
    assert (found.reachable, found.port_open, found.healthy) == (True, True, True)
    assert (found.models, found.missing) == (["m", "n"], [])
    assert found.latency > 0
    assert (found.ours, found.theirs) == (256, 8.0)


async def test_a_closed_port_of_a_machine_that_is_there(inspect):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        found = await inspect(f"http://127.0.0.1:{holder.getsockname()[1]}")
    assert (found.reachable, found.port_open, found.healthy) == (True, False, None)
    assert found.problem.startswith("nothing listens on port ")


async def test_a_name_that_nobody_knows(inspect):
    found = await inspect("http://no-such-host.invalid:8000")
    assert (found.reachable, found.port_open) == (False, None)
    assert found.problem.startswith("no-such-host.invalid cannot be reached: ")


async def test_a_machine_that_is_silent(inspect, monkeypatch):
    async def silence(*address):
        raise TimeoutError

    monkeypatch.setattr(asyncio, "open_connection", silence)
    found = await inspect("http://192.0.2.1:8000")
    assert (found.reachable, found.port_open) == (False, None)
    assert found.problem == "192.0.2.1 does not answer"


async def test_a_model_that_is_mapped_there_and_not_served(inspect, engine):
    found = await inspect(engine.url, ["m", "llama"])
    assert (found.problem, found.missing) == ("does not serve llama", ["llama"])


async def test_a_sick_engine(inspect, engine):
    engine.faults.add("health_dead", count=None)
    found = await inspect(engine.url)
    assert (found.healthy, found.models) == (False, None)
    assert found.problem == "/health answers 503"


async def test_an_engine_that_lost_its_model(inspect, engine):
    engine.unload()
    assert (await inspect(engine.url)).problem == "serves no model"


async def test_a_missing_key(inspect):
    async with Simulator(api_keys=("k",)) as engine:
        assert (await inspect(engine.url)).problem == (
            "/v1/models answers 401: its api_key is missing or wrong"
        )
        assert (await inspect(engine.url, api_key="k")).problem == ""


async def test_metrics_that_do_not_tell_are_no_problem(inspect, engine):
    engine.faults.add("metrics_missing", count=None)
    found = await inspect(engine.url)
    assert (found.problem, found.theirs) == ("", None)


async def answering(replies):
    """A server that says whatever is asked of it, by path."""

    async def serve(reader, writer):
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        writer.write(replies.get(path, b""))
        writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


@pytest.mark.parametrize(
    ("health", "models", "problem"),
    [
        (b"", b"", "/health: the answer is not HTTP, or TLS failed"),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            b"",
            "/v1/models: the answer is not HTTP, or TLS failed",
        ),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]",
            "/v1/models is not a list of models",
        ),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
            "/v1/models answers 404",
        ),
    ],
)
async def test_something_that_is_no_vllm(inspect, health, models, problem):
    server = await answering({"/health": health, "/v1/models": models})
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert (await inspect(f"http://127.0.0.1:{port}")).problem == problem
