"""A gateway of one process that is born and dies while callers talk to it; its endpoints live in the test."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.simulator import Simulator
from app.store.reports import UsageFilter
from app.store.usage import UsageRow
from tests.crowd import Customer, connected
from tests.gateways import customer
from tests.rawcaller import Answer, RawCaller
from tests.stores import opened
from tests.supervised import SOON, Supervised, alone


@dataclass
class Life:
    """The process, a customer's key, and callers that hang up when it is over."""

    gateway: Supervised
    customer: Customer
    engines: list[Simulator]
    database: str
    _callers: list[RawCaller] = field(default_factory=list)

    async def caller(self, said: bytes = b"") -> RawCaller:
        caller = await connected(self.gateway)
        self._callers.append(caller)
        caller.say(said)
        return caller

    async def ask(self, content: str = "short", **fields: Any) -> Answer:
        """One call over a connection of its own."""
        caller = await self.caller(self.customer.request(content, **fields))
        return await caller.answer()

    async def get(self, path: str) -> Answer:
        caller = await self.caller(f"GET {path} HTTP/1.1\r\nHost: gateway\r\n\r\n".encode())
        return await caller.answer()

    async def begun(self, content: str, number: int = 1) -> list[RawCaller]:
        """Streams of which each caller has seen an event."""
        request = self.customer.request(content, stream=True)
        callers = [await self.caller(request) for _ in range(number)]
        for caller in callers:
            async with asyncio.timeout(SOON):
                await caller.reader.readuntil(b'"content":"')
        return callers

    def tell(self, number: signal.Signals) -> float:
        """When it was told."""
        self.gateway.process.send_signal(number)
        return time.monotonic()

    async def ended(self) -> int:
        """Its exit code."""
        return await asyncio.to_thread(self.gateway.process.wait, SOON)

    async def rows(self) -> list[UsageRow]:
        """The ledger as it is found on the disk."""
        async with opened(self.database, migrated=False) as stores:
            return [row async for row in stores.reports.export(UsageFilter())]

    async def open_rows(self) -> list[UsageRow]:
        async with opened(self.database, migrated=False) as stores:
            return [row async for row in stores.reports.export(UsageFilter(state="open"))]

    def hang_up(self) -> None:
        for caller in self._callers:
            caller.hang_up()


@asynccontextmanager
async def life(folder: Path, *engines: Simulator, **settings: Any):
    """It serves; killed at the end if it still lives."""
    engines = engines or (Simulator(ttft=0.01, itl=0.01),)
    for engine in engines:
        await engine.start()
    settings = {"logging": {"access": {"enabled": False}}, **settings}
    made = alone(folder, [engine.url for engine in engines], **settings)
    gateway = await asyncio.to_thread(made.__enter__)
    try:
        subject = Life(gateway, await customer(gateway), list(engines), f"sqlite:///{folder}/sluice.db")
        try:
            yield subject
        finally:
            subject.hang_up()
    finally:
        await asyncio.to_thread(made.__exit__, None, None, None)
        for engine in engines:
            await engine.stop()


def code_of(event: bytes) -> str:
    """The error's code in the last event of a stream."""
    return json.loads(event.rpartition(b"data: ")[2].partition(b"\n\n")[0])["error"]["code"]
