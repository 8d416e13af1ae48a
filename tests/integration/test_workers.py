"""One gateway in several processes: callers, operators and signals meet one gateway."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import time
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import httpx
import pytest

from app.cli.simulated import simulated
from tests.redis_server import serving
from tests.supervised import SOON, configured, gone, operator, pids, run, supervised, wait

LONG = {"model": "sim", "messages": [{"role": "user", "content": "forever"}], "stream": True}
SHORT = {"model": "sim", "messages": [{"role": "user", "content": "short"}]}
AT_ONCE = 1.0
"""Seconds in which a change is in force on every worker."""


@pytest.fixture(scope="module")
def urls():
    with simulated(1, "sim") as urls:
        yield urls


@pytest.fixture(scope="module")
def redis_url():
    with serving() as server:
        yield server.url


@pytest.fixture(scope="module")
def gateway(urls, redis_url, tmp_path_factory):
    with supervised(tmp_path_factory.mktemp("workers"), urls, redis_url=redis_url) as gateway:
        yield gateway


@asynccontextmanager
async def customer(gateway, **limits):
    """A new tenant's id, its key, the key's secret."""
    async with operator(gateway) as ops:
        name = f"tenant-{time.monotonic_ns()}"
        tenant = (await ops.post("/admin/v1/tenants", json={"name": name, "limits": limits})).json()
        key = (await ops.post(f"/admin/v1/tenants/{tenant['id']}/keys", json={})).json()
        yield tenant["id"], key["id"], key["secret"]


@asynccontextmanager
async def connection(gateway, secret):
    """One connection, which one worker holds."""
    limits = httpx.Limits(max_connections=1)
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{gateway.data}",
        headers={"authorization": f"Bearer {secret}"},
        limits=limits,
        trust_env=False,
        timeout=SOON,
    ) as client:
        yield client


async def running(ops):
    return (await ops.get("/admin/v1/inflight")).json()["data"]


async def stream_on_each(stack, gateway, secret, ops):
    """Open streams by their call's id, at least one on each worker; and those calls' workers."""
    streams, workers = {}, {}
    while set(workers.values()) != {0, 1}:
        client = await stack.enter_async_context(connection(gateway, secret))
        reply = await stack.enter_async_context(client.stream("POST", "/v1/chat/completions", json=LONG))
        assert reply.status_code == 200
        (new,) = [row for row in await running(ops) if row["call_id"] not in streams]
        streams[new["call_id"]], workers[new["call_id"]] = reply, new["worker"]
        assert len(streams) < 50
    return streams, workers


async def within(true, seconds=SOON):
    """Wait for an answer that nobody announces."""
    async with asyncio.timeout(seconds):
        while not await true():
            await asyncio.sleep(0.02)


async def on_each_worker(gateway, ask):
    """One answer of each worker, over a fresh connection each time until both have answered."""
    found = {}
    async with operator(gateway) as ops:
        while found.keys() != {0, 1}:
            before = await held(ops)
            async with connection(gateway, "") as client:
                answer = await ask(client)
                after = await held(ops)
                (worker,) = [seat for seat in after if after[seat] > before[seat]]
                found[worker] = answer
            await within(partial(_shows, held, ops, before))
    return found


async def _is(going, value):
    return await going == value


async def _shows(ask, ops, value):
    return await ask(ops) == value


async def held(ops):
    """Connections to callers by worker."""
    return {row["worker"]: row["connections"] for row in (await ops.get("/status")).json()["workers"]}


async def test_new_connections_spread_over_the_workers(gateway):
    async with AsyncExitStack() as stack, operator(gateway) as ops:
        for _ in range(60):
            stack.enter_context(socket.create_connection(("127.0.0.1", gateway.data)))

        async def all_accepted():
            return sum((await held(ops)).values()) >= 60

        await within(all_accepted)
        assert min((await held(ops)).values()) >= 15


async def test_operators_see_and_end_the_calls_of_every_worker(gateway):
    async with (
        AsyncExitStack() as stack,
        operator(gateway) as ops,
        customer(gateway) as (_, _, secret),
    ):
        streams, workers = await stream_on_each(stack, gateway, secret, ops)
        status = (await ops.get("/status")).json()
        assert status["inflight"] == status["endpoints"][0]["inflight"] == len(streams)
        assert {row["worker"] for row in status["workers"] if row["inflight"]} == {0, 1}
        assert [row["inflight"] for row in (await ops.get("/admin/v1/fleet")).json()["data"]] == [
            len(streams)
        ]
        page = (await ops.get("/admin/v1/inflight?limit=1")).json()
        rest = (await ops.get(f"/admin/v1/inflight?cursor={page['next_cursor']}")).json()
        assert [row["call_id"] for row in page["data"] + rest["data"]] == list(streams)

        for seat in (0, 1):
            call_id = next(call for call, worker in workers.items() if worker == seat and call in streams)
            assert (await ops.delete(f"/admin/v1/inflight/{call_id}")).status_code == 204
            text = (await streams.pop(call_id).aread()).decode()
            assert '"error"' in text
            assert "[DONE]" not in text
            told = (await ops.get(f"/admin/v1/requests/{call_id}")).json()
            assert told["call_id"] == call_id
        assert (await ops.delete("/admin/v1/inflight/nobody")).status_code == 404
        assert (await ops.get("/admin/v1/requests/nobody")).status_code == 404


async def test_metrics_count_the_calls_of_all_even_of_a_worker_that_died(gateway):
    async def counted(ops):
        page = (await ops.get("/metrics")).text
        found = re.findall(
            r'^sluice_requests_total\{.*model="sim",outcome="success".*\} (.*)$', page, re.MULTILINE
        )
        return sum(map(float, found))

    async with operator(gateway) as ops, customer(gateway) as (_, _, secret):
        before = await counted(ops)

        async def ask(client):
            client.headers["authorization"] = f"Bearer {secret}"
            return (await client.post("/v1/chat/completions", json=SHORT)).status_code

        answers = [await on_each_worker(gateway, ask) for _ in range(2)]
        assert [set(each.values()) for each in answers] == [{200}, {200}]
        calls = await counted(ops) - before
        usage = (await ops.get("/admin/v1/usage/requests?limit=1000")).json()["data"]
        mine = [row for row in usage if row["key_id"] in {r["key_id"] for r in usage[:1]}]
        assert calls == len(mine) >= 4

        dead = pids(gateway)[1]
        os.kill(dead, signal.SIGKILL)
        wait(lambda: pids(gateway).get(1, dead) != dead)
        assert await counted(ops) - before == calls


async def test_killed_worker_is_replaced_and_the_other_does_not_notice(gateway):
    async with AsyncExitStack() as stack, operator(gateway) as ops, customer(gateway) as (_, _, secret):
        streams, workers = await stream_on_each(stack, gateway, secret, ops)
        before = pids(gateway)
        survivor = next(call for call, worker in workers.items() if worker == 1)
        os.kill(before[0], signal.SIGKILL)
        chunks = streams[survivor].aiter_bytes()
        wait(lambda: pids(gateway).keys() == {0, 1} and pids(gateway)[0] != before[0])
        assert pids(gateway)[1] == before[1]
        assert await anext(chunks)

        async def ask(client):
            client.headers["authorization"] = f"Bearer {secret}"
            return (await client.post("/v1/chat/completions", json=SHORT)).status_code

        assert await on_each_worker(gateway, ask) == {0: 200, 1: 200}
        cut = {call for call, worker in workers.items() if worker == 0}

        async def booked():
            rows = (await ops.get("/admin/v1/usage/requests?limit=1000")).json()["data"]
            return {row["finish"] for row in rows if row["call_id"] in cut}

        await within(lambda: _is(booked(), {"crashed"}))


async def test_keys_and_limits_change_on_every_worker_at_once(gateway):
    async with operator(gateway) as ops, customer(gateway) as (tenant_id, key_id, secret):

        async def status(client):
            client.headers["authorization"] = f"Bearer {secret}"
            return (await client.post("/v1/chat/completions", json=SHORT)).status_code

        async def reaches_everybody(wanted):
            """Each worker's answer changes within a second of the change; both are asked over and over."""
            changed = time.monotonic()
            async with AsyncExitStack() as stack:
                clients = [await stack.enter_async_context(connection(gateway, secret)) for _ in range(12)]
                while time.monotonic() - changed < AT_ONCE:
                    await asyncio.sleep(0.05)
                assert Counter([await status(client) for client in clients]) == {wanted: 12}

        assert await on_each_worker(gateway, status) == {0: 200, 1: 200}
        await ops.patch(f"/admin/v1/tenants/{tenant_id}", json={"limits": {"tokens_per_day": 1}})
        await reaches_everybody(400)
        await ops.patch(f"/admin/v1/tenants/{tenant_id}", json={"limits": {"tokens_per_day": None}})
        await reaches_everybody(200)
        await ops.delete(f"/admin/v1/keys/{key_id}")
        await reaches_everybody(401)


async def test_revoking_with_abort_cuts_the_calls_of_every_worker(gateway):
    async with (
        AsyncExitStack() as stack,
        operator(gateway) as ops,
        customer(gateway) as (_, key_id, secret),
    ):
        streams, _ = await stream_on_each(stack, gateway, secret, ops)
        assert (await ops.delete(f"/admin/v1/keys/{key_id}?abort=true")).status_code == 204
        async with asyncio.timeout(AT_ONCE):
            texts = [(await reply.aread()).decode() for reply in streams.values()]
        assert all("invalid_api_key" in text for text in texts)


async def test_what_operators_want_of_the_fleet_reaches_every_worker(gateway):
    async with operator(gateway) as ops:

        async def states():
            (row,) = (await ops.get("/admin/v1/fleet")).json()["data"]
            return [worker["state"] for worker in row["workers"]]

        await ops.post("/admin/v1/fleet/gpu-0/drain", json={})
        await within(lambda: _is(states(), ["drained", "drained"]), AT_ONCE)
        await ops.post("/admin/v1/fleet/gpu-0/resume", json={})
        await within(lambda: _is(states(), ["up", "up"]), AT_ONCE)


async def test_reload_is_taken_by_all_workers_or_by_none(gateway, urls):
    async with operator(gateway) as ops:

        async def names():
            (status,) = [(await ops.get("/status")).json()]
            return {(row["name"], len(row["workers"])) for row in status["endpoints"]}

        async def successful():
            return "sluice_config_last_reload_successful 1.0" in (await ops.get("/metrics")).text

        before = gateway.rewrite(vllm_endpoints=[{"name": "other", "url": urls[0]}])
        answer = (await ops.post("/admin/v1/reload")).json()
        assert (answer["reloaded"], len(answer["changed"]) > 0) == (True, True)
        assert await names() == {("other", 2)}

        gateway.rewrite(vllm_endpoints=[{"name": "third", "url": urls[0]}], rooting={})
        refused = await ops.post("/admin/v1/reload")
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "rooting")
        assert await names() == {("other", 2)}
        assert not await successful()

        gateway.file.write_text(json.dumps(before))
        gateway.process.send_signal(signal.SIGHUP)
        await within(lambda: _is(names(), {("gpu-0", 2)}))
        assert await successful()


async def test_operators_port_asks_for_tokens_and_tells_the_audit_who_it_was(gateway):
    async with operator(gateway, {}) as nobody, operator(gateway) as ops:
        for path in ("/admin/v1/inflight", "/admin/v1/fleet", "/admin/v1/config", "/admin/v1/requests/x"):
            assert (await nobody.get(path)).status_code == 401, path
        assert (await nobody.get("/health")).json() == {"status": "ok"}
        assert (await nobody.get("/ready")).json() == {"status": "ready"}
        assert (await nobody.get("/info")).json()["name"] == "sluice"
        assert (await nobody.get("/nothing")).status_code == 404
        headers = {"x-sluice-origin": "6.6.6.6"}
        name = f"tenant-{time.monotonic_ns()}"
        await ops.post("/admin/v1/tenants", json={"name": name}, headers=headers)
        assert (await ops.get("/admin/v1/audit?limit=1")).json()["data"][0]["origin"] == "127.0.0.1"
        export = await ops.get("/admin/v1/usage/export?format=jsonl")
        assert export.status_code == 200
        told = (await ops.post("/admin/v1/explain", json={"model": "sim"})).json()
        assert (told["would"], told["limits_counted"], told["worker"] in {0, 1}) == (
            "dispatch",
            "redis",
            True,
        )


async def test_every_line_of_the_log_is_whole(gateway):
    assert [line for line in gateway.lines if json.loads(line) is None] == []
    assert gateway.heard("listening on", 3)


@dataclass
class Engine:
    """Answers probes; counts those of its health and says when there were enough."""

    asked: int = 0
    enough: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, reader, writer):
        path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1]
        if path == b"/health":
            self.asked += 1
            if self.asked == 8:
                self.enough.set()
        body = b'{"data": [{"id": "m"}]}' if path == b"/v1/models" else b""
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body)
        writer.write(head + body)
        await writer.drain()
        writer.close()


async def test_workers_probe_as_one_and_know_of_a_death_as_one(redis_url, tmp_path):
    engine = Engine()
    server = await asyncio.start_server(engine, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    process = supervised(
        tmp_path, [url], workers=3, redis_url=redis_url, health={"interval": 1, "interval_down": 1}
    )
    gateway = await asyncio.to_thread(process.__enter__)
    try:
        async with operator(gateway) as ops:

            async def health():
                (row,) = (await ops.get("/status")).json()["endpoints"]
                return [worker["health"] for worker in row["workers"]]

            assert await health() == ["up"] * 3
            began, engine.asked = time.monotonic(), 0
            engine.enough.clear()
            async with asyncio.timeout(SOON):
                await engine.enough.wait()
            assert time.monotonic() - began > 8 * 0.9 * 0.75  # a third of it, were each to ask for itself

            server.close()
            await server.wait_closed()

            async def any_knows():
                return "down" in await health()

            await within(any_knows)
            await within(lambda: _is(health(), ["down"] * 3), AT_ONCE)
    finally:
        server.close()
        await asyncio.to_thread(process.__exit__, None, None, None)


async def test_sigterm_lets_streams_end_and_exits_well(urls, redis_url, tmp_path):
    with supervised(tmp_path, urls, redis_url=redis_url) as gateway:
        async with AsyncExitStack() as stack, customer(gateway) as (_, _, secret):
            client = await stack.enter_async_context(connection(gateway, secret))
            body = LONG | {"messages": [{"role": "user", "content": "200 tokens"}]}
            reply = await stack.enter_async_context(client.stream("POST", "/v1/chat/completions", json=body))
            chunks = reply.aiter_text()
            first = await anext(chunks)
            workers = pids(gateway)
            gateway.process.send_signal(signal.SIGTERM)
            assert (first + "".join([chunk async for chunk in chunks])).endswith("data: [DONE]\n\n")
        assert await asyncio.to_thread(gateway.process.wait, SOON) == 0
        assert all(gone(pid) for pid in workers.values())


async def test_second_signal_does_not_wait_for_streams(urls, redis_url, tmp_path):
    with supervised(tmp_path, urls, redis_url=redis_url, server={"drain": 600}) as gateway:
        async with AsyncExitStack() as stack, customer(gateway) as (_, _, secret):
            client = await stack.enter_async_context(connection(gateway, secret))
            reply = await stack.enter_async_context(client.stream("POST", "/v1/chat/completions", json=LONG))
            gateway.process.send_signal(signal.SIGTERM)

            async def draining():
                async with operator(gateway) as ops:
                    return (await ops.get("/ready")).status_code == 503

            await within(draining)
            gateway.process.send_signal(signal.SIGINT)
            assert "shutting_down" in (await reply.aread()).decode()
        assert await asyncio.to_thread(gateway.process.wait, SOON) == 0


async def test_workers_of_a_killed_supervisor_give_the_port_back_and_end_by_themselves(
    urls, redis_url, tmp_path, monkeypatch
):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with supervised(tmp_path, urls, redis_url=redis_url, server={"drain": 1}) as gateway:
        async with AsyncExitStack() as stack, customer(gateway) as (_, _, secret):
            client = await stack.enter_async_context(connection(gateway, secret))
            reply = await stack.enter_async_context(client.stream("POST", "/v1/chat/completions", json=LONG))
            workers, port = pids(gateway), gateway.data
            gateway.process.send_signal(signal.SIGKILL)

            async def free():
                server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", port)
                server.close()
                return True

            async def can_listen():
                try:
                    return await free()
                except OSError:
                    return False

            await within(can_listen)
            assert "shutting_down" in (await reply.aread()).decode()
        await asyncio.to_thread(wait, lambda: all(gone(pid) for pid in workers.values()))
        assert [path for path in tmp_path.glob("sluice-*") if path.is_dir()] == []


def test_start_that_fails_is_one_plain_line_and_no_loop(urls, redis_url, tmp_path):
    with supervised(tmp_path, urls, redis_url=redis_url) as gateway:
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(SOON) == 0
    (tmp_path / "sluice.secret").unlink()
    code, said = run(tmp_path / "sluice.yaml", 2)
    assert code == 1
    assert [line for line in said if not line.startswith("{")] == [
        f"sluice: The secret of this database is missing: restore {tmp_path}/sluice.secret or set SLUICE_SECRET."
    ]


@pytest.mark.parametrize("listener", ["server", "ops"])
def test_taken_port_is_one_plain_line(urls, redis_url, tmp_path, listener):
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        file = configured(tmp_path, urls, redis_url=redis_url, **{listener: {"port": port}})
        code, said = run(file, 2)
    assert code == 1
    assert [line for line in said if not line.startswith("{")] == [
        f"sluice: cannot listen on 127.0.0.1 port {port}: address already in use"
    ]
