"""Two gateways behind a balancer, restarted one after the other under load: nobody notices."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import httpx
import pytest
from openai import AsyncOpenAI, DefaultAsyncHttpxClient, OpenAIError

from app.simulator import Simulator
from app.store.migrate import migrate
from app.store.pepper import Pepper
from app.store.reports import UsageFilter
from tests.faults.balancer import Balancer
from tests.gateways import SECRET, customer
from tests.house import calls, chat, until
from tests.stores import opened
from tests.supervised import SOON, alone

pytest_plugins = ("tests.postgres",)

RATE = 50.0
"""Calls a second, whatever becomes of those before."""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as holder:
        return holder.getsockname()[1]


@dataclass
class Replica:
    """One gateway, the process that is it now, and a fixed port."""

    folder: object
    urls: list[str]
    settings: dict
    lame_duck: float
    port: int = field(default_factory=free_port)
    gateway: object = None
    _made: object = None

    async def begin(self):
        server = {"port": self.port, "lame_duck": self.lame_duck, "drain": 20}
        self._made = alone(self.folder, self.urls, server=server, **self.settings)
        self.gateway = await asyncio.to_thread(self._made.__enter__)

    async def end(self):
        """In order; its exit code."""
        self.gateway.process.send_signal(signal.SIGTERM)
        code = await asyncio.to_thread(self.gateway.process.wait, SOON)
        await self.kill()
        return code

    async def kill(self):
        if self._made is not None:
            await asyncio.to_thread(self._made.__exit__, None, None, None)
        self._made = None


@dataclass
class Load:
    """Calls by the SDK, without a second try, at a steady rate; half of them streams."""

    sdk: AsyncOpenAI
    calls: int = 0
    slowest: float = 0.0
    errors: list[tuple[float, OpenAIError]] = field(default_factory=list)

    @asynccontextmanager
    async def going_on(self):
        enough = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            going = group.create_task(self._go_on(group, enough))
            yield
            enough.set()
            await going

    async def _go_on(self, group, enough):
        began = time.monotonic()
        while not enough.is_set():
            group.create_task(self._call(streams=self.calls % 2 == 0))
            self.calls += 1
            await asyncio.sleep(max(0.0, began + self.calls / RATE - time.monotonic()))

    async def _call(self, *, streams):
        create = self.sdk.chat.completions.create
        began = time.monotonic()
        try:
            if streams:
                reply = await create(**chat("20 tokens"), stream=True)
                chunks = [chunk async for chunk in reply]
                assert chunks[-1].choices[0].finish_reason
            else:
                assert (await create(**chat("20 tokens"))).choices[0].finish_reason
        except OpenAIError as error:
            self.errors.append((time.monotonic(), error))
        self.slowest = max(self.slowest, time.monotonic() - began)


async def roll(folder, url, rounds, keep_alive=5.0):
    """Every restart of every replica is seen by the balancer, by nobody else, and every call is in the ledger.

    A caller that keeps an idle connection for longer than the lame duck may call just when it is closed:
    the SDK keeps them for 5 s.
    """
    engines = [Simulator(ttft=0.01, itl=0.01, seed=seed) for seed in range(2)]
    settings = {"database_url": url, "secret": SECRET, "logging": {"access": {"enabled": False}}}
    async with AsyncExitStack() as stack:
        for engine in engines:
            await stack.enter_async_context(engine)
        replicas = []
        for name in ("one", "two"):
            (folder / name).mkdir()
            urls = [engine.url for engine in engines]
            replicas.append(Replica(folder / name, urls, settings, keep_alive + 2.5))
            stack.push_async_callback(replicas[-1].kill)
            await replicas[-1].begin()
        balancer = await stack.enter_async_context(Balancer([replica.port for replica in replicas]))
        await until(lambda: len(balancer.ready) == 2)
        kept = httpx.Limits(max_connections=1000, max_keepalive_connections=100, keepalive_expiry=keep_alive)
        client = DefaultAsyncHttpxClient(verify=False, trust_env=False, limits=kept)
        sdk = AsyncOpenAI(
            base_url=f"{balancer.url}/v1",
            api_key=(await customer(replicas[0].gateway)).secret,
            max_retries=0,
            timeout=SOON,
            http_client=client,
        )
        load = Load(await stack.enter_async_context(sdk))
        async with load.going_on():
            for _ in range(rounds):
                for replica in replicas:
                    given = dict(balancer.given)
                    assert await replica.end() == 0
                    await until(lambda replica=replica: replica.port not in balancer.ready)
                    await replica.begin()
                    await until(lambda: len(balancer.ready) == 2)
                    (other,) = balancer.given.keys() - {replica.port}
                    assert balancer.given[other] > given[other]
        print(
            f"\n{load.calls} calls over {2 * rounds} restarts, {len(load.errors)} errors, slowest {load.slowest:.2f} s"
        )
        for when, error in load.errors:
            print(f"{when:.3f} {error!r} {error.__cause__!r}")
        for when, port, ready in balancer.changes if load.errors else ():
            print(f"{when:.3f} {port} {'ready' if ready else 'unready'}")
        assert load.errors == []
        truth = calls(*engines)
        async with opened(url, pepper=Pepper(SECRET), migrated=False) as stores:

            async def rows(state=None):
                return [row async for row in stores.reports.export(UsageFilter(state=state))]

            async with asyncio.timeout(SOON):
                while len(found := await rows("settled")) < load.calls:
                    await asyncio.sleep(0.05)
            assert len(found) == len(truth) == load.calls
            assert sum(row.completion_tokens for row in found) == sum(record.generated for record in truth)
            assert await rows("open") == []


async def test_l05_rolling_restart_costs_no_call(tmp_path):
    await roll(tmp_path, f"sqlite:///{tmp_path}/sluice.db", rounds=1, keep_alive=0.5)


@pytest.mark.long
async def test_l05_rolling_restarts_cost_no_call_over_many_rounds(tmp_path):
    await roll(tmp_path, f"sqlite:///{tmp_path}/sluice.db", rounds=10)


@pytest.mark.long
async def test_l05_rolling_restarts_over_postgresql_cost_no_call(tmp_path, postgres_url):
    await asyncio.to_thread(migrate, postgres_url)
    await roll(tmp_path, postgres_url, rounds=5)
