"""A whole gateway in this process, over real sockets, before the endpoints a test gives it."""

from __future__ import annotations

import asyncio
import atexit
import gc
import json
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import httpx
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from app.main import create_data_app, create_ops_app
from app.server.lifecycle import State
from app.server.listener import Listener
from app.server.runner import run
from app.settings import load
from app.settings.layers import merged
from app.simulator import Record, Simulator
from app.store.migrate import migrate
from app.store.usage import UsageRow
from app.upstream.transport.direct.transport import DirectTransport
from app.wiring import House, build
from tests.rawcaller import RawCaller, post
from tests.witness import CANARY, Witness, secrets_of

SOON = 30.0
"""Seconds within which what must happen has happened, on a busy machine too."""

DEFAULTS: dict[str, Any] = {
    "server": {"host": "127.0.0.1", "port": 0, "lame_duck": 0, "drain": 5, "shedding": {"loop_lag": 60}},
    "ops": {"port": 0},
    "admin_token": "an admin token of the tests",
    "ledger": {"max_wait": 20},
    "health": {"interval": 0.5, "interval_down": 0.1, "timeout": 5},
    "resilience": {
        "timeouts": {"connect": 1, "first_byte": 2, "idle": 2, "total": 10, "stream_total": 20},
    },
}

PATIENT = {
    "timeouts": {"connect": 20, "first_byte": 60, "idle": 60, "total": 60, "stream_total": 60},
    "breaker": {"wait_in_open": 600, "max_wait_in_open": 600},
}
"""For crowds: a machine that is busy with other things is no fault of an endpoint."""


@dataclass
class Row:
    """An endpoint with the fields its row of the configuration has besides name and url."""

    endpoint: Any
    fields: dict[str, Any]


def at(endpoint: Any, **fields: Any) -> Row:
    """An endpoint with a weight, a tier, models, …"""
    return Row(endpoint, fields)


class Refusing:
    """An endpoint whose port is held but never listened on: every connection is refused."""

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def close(self) -> None:
        self._socket.close()


class BlackHole:
    """An endpoint whose port takes no connection and refuses none: its queue of them is full."""

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen(0)
        self._fillers = [socket.socket() for _ in range(2)]
        for filler in self._fillers:
            filler.setblocking(False)
            filler.connect_ex(self._socket.getsockname())
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def close(self) -> None:
        for each in (self._socket, *self._fillers):
            each.close()


@dataclass
class Gateway:
    """A running house, its caller's key and its endpoints."""

    house: House
    data: Listener
    ops: Listener | None
    key: str
    tenant_id: str
    simulators: list[Simulator]
    client: httpx.AsyncClient
    file: Path
    witness: Witness
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    _sdk: AsyncOpenAI | None = None
    _callers: list[RawCaller] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.data.port}"

    @property
    def base_url(self) -> str:
        """As an SDK wants it."""
        return f"{self.url}/v1"

    @property
    def ops_url(self) -> str:
        """Of a house that runs with `ops=True`."""
        assert self.ops is not None
        return f"http://127.0.0.1:{self.ops.port}"

    @property
    def sdk(self) -> AsyncOpenAI:
        """Without retries of its own; `sdk.with_options(max_retries=...)` for more."""
        if self._sdk is None:
            client = DefaultAsyncHttpxClient(verify=False, trust_env=False)
            self._sdk = AsyncOpenAI(
                base_url=self.base_url, api_key=self.key, max_retries=0, timeout=SOON, http_client=client
            )
        return self._sdk

    async def ask(
        self, content: str = f"hello {CANARY}", *, path: str = "/v1/chat/completions", **fields: Any
    ) -> httpx.Response:
        """One request, a JSON chat unless said otherwise."""
        headers = fields.pop("headers", None)
        return await self.client.post(path, json=chat(content, **fields), headers=headers)

    async def post(self, path: str, body: Any) -> httpx.Response:
        return await self.client.post(path, json=body)

    async def caller(self) -> RawCaller:
        """A connection of its own, closed when the house is."""
        caller = RawCaller(*await asyncio.open_connection("127.0.0.1", self.data.port))
        self._callers.append(caller)
        return caller

    def request(
        self, content: str = f"hello {CANARY}", *, path: str = "/v1/chat/completions", **fields: Any
    ) -> bytes:
        """The bytes of a request, for `caller().say`."""
        body = json.dumps(chat(content, **fields)).encode()
        return post(path, body, f"Authorization: Bearer {self.key}", "Content-Type: application/json")

    async def limit(self, **limits: int | None) -> None:
        await self.house.storage.tenants.update(self.tenant_id, {"limits": limits})

    def rewrite(self, **settings: Any) -> None:
        """Change the file a reload reads."""
        self.file.write_text(json.dumps(json.loads(self.file.read_text()) | settings))

    async def stored(self) -> None:
        """No row is on its way any more, nor in the journal."""
        storage = self.house.storage
        await until(lambda: not storage.ledger.pending and not storage.journal.backlog)

    async def rows(self) -> list[UsageRow]:
        """The ledger, oldest first, once everything is in the store."""
        await self.stored()
        rows = [row async for row in self.house.storage.reports.export()]
        return rows[::-1]

    async def row(self) -> UsageRow:
        """The only row."""
        (row,) = await self.rows()
        return row

    async def aclose(self) -> None:
        for caller in self._callers:
            caller.hang_up()
        await self.client.aclose()
        if self._sdk is not None:
            await self._sdk.close()


def calls(*simulators: Simulator) -> list[Record]:
    """What callers asked of them, in order; probes carry no request id."""
    records = [record for simulator in simulators for record in simulator.truth.records if record.request_id]
    return sorted(records, key=lambda record: record.received)


def chat(content: str = f"hello {CANARY}", **fields: Any) -> dict[str, Any]:
    return {"model": "tiny", "messages": [{"role": "user", "content": content}], **fields}


async def until(true: Any, within: float = SOON) -> None:
    """Wait for a condition that nobody announces."""
    async with asyncio.timeout(within):
        while not true():
            await asyncio.sleep(0.002)


@asynccontextmanager
async def running(
    endpoints: Any, *, through: Any = None, ops: bool = False, bugs: bool = False, **settings: Any
):
    """A gateway that serves, quiet again at the end and gone without a trace after it.

    Endpoints are simulators (started here), rows made by `at`, or anything with a url. `through` is a
    transport in place of the configured one; `ops`: with the operators' port too; `bugs`: tracebacks in the
    log are what the test wants. Settings are nested like the file, over DEFAULTS; `database_url` is SQLite
    unless it names a migrated PostgreSQL.
    """
    await _warm_up()
    before = open_files(), len(asyncio.all_tasks())
    witness = Witness()
    async with AsyncExitStack() as stack:
        stack.enter_context(witness.listening())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        rows = [row if isinstance(row, Row) else at(row) for row in endpoints]
        simulators = [row.endpoint for row in rows if isinstance(row.endpoint, Simulator)]
        for simulator in simulators:
            await stack.enter_async_context(simulator)
        shutil.copy(_migrated(), folder / "sluice.db")
        journal = {"journal": {"path": f"{folder}/journal.db"}}
        kept = {"database_url": f"sqlite:///{folder}/sluice.db", "ledger": journal}
        tree = merged(DEFAULTS, kept, settings)
        tree["vllm_endpoints"] = [
            {"name": f"gpu-{letter}", "url": row.endpoint.url, **row.fields}
            for letter, row in zip(ascii_lowercase, rows, strict=False)
        ]
        gateway = await stack.enter_async_context(_serving(folder, tree, through, witness, ops=ops))
        gateway.simulators = simulators
        try:
            yield gateway
        finally:
            await gateway.aclose()
        await quiet(gateway)
    leaked = witness.leaked(secrets_of(tree) | {gateway.key})
    assert not leaked, f"a secret in the log: {leaked}"
    assert bugs or not witness.tracebacks, f"a traceback in the log: {witness.tracebacks}"
    await until(lambda: len(asyncio.all_tasks()) <= before[1])
    if open_files() > before[0]:
        gc.collect()
    await until(lambda: open_files() <= before[0])


@asynccontextmanager
async def _serving(folder: Path, tree: Mapping[str, Any], through: Any, witness: Witness, *, ops: bool):
    file = folder / "sluice.yaml"
    file.write_text(json.dumps(tree))
    settings = load(file, environ={})
    house = await build(settings, transport=through, reread=lambda: load(file, environ={}))
    house.hearing.access._write = witness.wrote
    await house.start()
    tenant = await house.storage.tenants.create("demo")
    _, secret = await house.storage.stored_keys.create(tenant.id)
    app = witness.counting(create_data_app(house), house)
    data = Listener(app, house.lifecycle, settings.server)
    listeners = [data]
    if ops:
        app = create_ops_app(house)
        listeners.append(Listener(app, house.lifecycle, settings.server, host="127.0.0.1", port=0))
    serving = asyncio.create_task(run(listeners, house.lifecycle, settings.server), name="serving")
    try:
        async with asyncio.timeout(SOON):
            await house.lifecycle.reached(State.SERVING)
        client = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{data.port}",
            headers={"authorization": f"Bearer {secret}"},
            timeout=SOON,
            trust_env=False,
            verify=False,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
        )
        async with client:
            yield Gateway(
                house,
                data,
                listeners[-1] if ops else None,
                secret,
                tenant.id,
                [],
                client,
                file,
                witness,
                asyncio.all_tasks(),
            )
    finally:
        house.lifecycle.stop()
        async with asyncio.timeout(SOON):
            await serving
        await house.aclose()


async def quiet(gateway: Gateway) -> None:
    """Nothing in flight, every permit back, nothing reserved, no connection in use, every row ended, and
    what came, what the metrics tell and what the ledger holds are the same.
    """
    try:
        await until(lambda: not unquiet(gateway))
    except TimeoutError:
        raise AssertionError(f"not quiet: {unquiet(gateway)}") from None
    house, rows = gateway.house, 0
    async for row in house.storage.reports.export():
        assert row.state != "open", f"open for ever: {row}"
        rows += row.gateway == house.storage.ledger._entries._gateway
    found = gateway.witness.contradictions(house, house.metrics.exposition().decode(), rows)
    assert not found, f"contradictions: {found}"


def unquiet(gateway: Gateway) -> list[str]:
    """What is still going on, in words."""
    house = gateway.house
    found = {
        "requests": gateway.data.tasks,
        "in flight": house.hearing.inflight.by_model(),
        "fleet": house.fleet.inflight or house.fleet.queued,
        "places": [e.bulkhead for e in house.fleet.endpoints.values() if e.bulkhead.inflight],
        "reserved": house.storage.limiter._counters.reserved,
        "ledger": house.storage.ledger.pending,
        "journal": house.storage.journal.backlog,
        "upstream": _in_use(house),
        "engines": [s for s in gateway.simulators if s.listening and not s.idle],
        "tasks": {
            task
            for task in asyncio.all_tasks() - gateway.tasks - {asyncio.current_task()}
            if not _passing(task)
        },
    }
    return [f"{name}: {what}" for name, what in found.items() if what]


def _passing(task: asyncio.Task[Any]) -> bool:
    """A visit to an endpoint, or a test's own server holding an idle connection."""
    coro: Any = task.get_coro()
    own = ("FaultServer._accept", "TcpProxy._serve", "TcpProxy._pump")
    return (
        task.get_name().startswith(("visits ", "postmortem of ")) or getattr(coro, "__qualname__", "") in own
    )


def _in_use(house: House) -> list[str]:
    if not isinstance(house.transport, DirectTransport):
        return []
    counts = {e.name: house.transport.connections(e.spec) for e in house.fleet.endpoints.values()}
    return [f"{name}: {count - idle}" for name, (count, idle) in counts.items() if count != idle]


async def _warm_up() -> None:
    """uvloop opens a few files with the first signal handler and the first server, and keeps them."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, gc.collect)
    loop.remove_signal_handler(signal.SIGUSR1)
    async with await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0):
        pass


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@cache
def _migrated() -> Path:
    """An empty database of the newest schema, made once and copied for every house."""
    folder = Path(tempfile.mkdtemp(prefix="sluice-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with ThreadPoolExecutor(1) as thread:
        thread.submit(migrate, f"sqlite:///{folder}/empty.db").result()
    return folder / "empty.db"
