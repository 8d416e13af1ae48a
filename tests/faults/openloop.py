"""Open-loop load: calls leave when their time has come, whatever became of those before.

Latency counts from the time a call was due, so that a stall is felt by every call that it holds up
(no coordinated omission). In this process: `await OpenLoop(url, flows).run()`; in one of its own, so that
callers take no time from the gateway's loop: `await elsewhere(url, flows)`.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import sys
from collections import Counter
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httptools

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Flow:
    """Calls of one kind, `rate` a second for `seconds`, beginning at `start` seconds.

    Evenly spaced, or at random (`poisson`) as independent callers come. `arrivals` names the times instead.
    """

    name: str
    key: str
    body: dict[str, Any]
    rate: float = 1.0
    seconds: float = 1.0
    start: float = 0.0
    poisson: bool = False
    arrivals: tuple[float, ...] = ()
    path: str = "/v1/chat/completions"
    headers: tuple[tuple[str, str], ...] = ()

    def due(self, dice: random.Random) -> list[float]:
        """In order."""
        if self.arrivals:
            return sorted(self.arrivals)
        count = round(self.rate * self.seconds)
        if not self.poisson:
            return [self.start + number / self.rate for number in range(count)]
        gaps = accumulate(dice.expovariate(self.rate) for _ in range(count))
        return [self.start + gap for gap in gaps]

    def request(self) -> bytes:
        body = json.dumps(self.body).encode()
        given = {"authorization": f"Bearer {self.key}", "content-type": "application/json"} | dict(
            self.headers
        )
        head = [f"POST {self.path} HTTP/1.1", "host: gateway", f"content-length: {len(body)}"]
        return (
            "\r\n".join([*head, *(f"{name}: {value}" for name, value in given.items()), "", ""]).encode()
            + body
        )


@dataclass(slots=True)
class Told:
    """What one caller was told, in seconds from the time the call was due; `due` from the start of the load.

    `status` 0: no answer; `code` says why then: connect, cut, patience. Else it is the error's code, in a
    stream too, and None if all is well.
    """

    flow: str
    due: float
    status: int = 0
    code: str | None = None
    first_byte: float = math.inf
    latency: float = math.inf
    retry_after: float | None = None
    should_retry: str | None = None

    @property
    def served(self) -> bool:
        return self.status == 200 and self.code is None


@dataclass
class Report:
    """Everything that callers were told. `late` is by how much the load itself was behind at worst."""

    told: list[Told] = field(default_factory=list)
    late: float = 0.0

    def of(self, *names: str, since: float = 0.0, until: float = math.inf) -> Report:
        """Some flows, or what was due in a stretch of time."""
        kept = [told for told in self.told if (not names or told.flow in names) and since <= told.due < until]
        return Report(kept, self.late)

    @property
    def served(self) -> Report:
        return Report([told for told in self.told if told.served], self.late)

    @property
    def refused(self) -> Report:
        return Report([told for told in self.told if not told.served], self.late)

    def __len__(self) -> int:
        return len(self.told)

    def statuses(self) -> Counter[int]:
        return Counter(told.status for told in self.told)

    def codes(self) -> Counter[str]:
        return Counter(told.code for told in self.told if told.code is not None)

    def latency(self, percent: float) -> float:
        """Until the last byte."""
        return percentile((told.latency for told in self.told), percent)

    def first_byte(self, percent: float) -> float:
        return percentile((told.first_byte for told in self.told), percent)

    def __str__(self) -> str:
        if not self.told:
            return "no calls"
        figures = ", ".join(
            f"p{percent:g} {self.latency(percent) * 1000:.1f} ms" for percent in (50, 99, 100)
        )
        return f"{len(self)} calls, {dict(self.statuses())} {dict(self.codes())}, {figures}"


def percentile(values: Iterable[float], percent: float) -> float:
    """The nearest rank: one of the values. NaN of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] if ordered else math.nan


class Connection(asyncio.Protocol):
    """One call after the other; what it hears goes into the `Told` at hand."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.transport: Any = None
        self.open = False
        self._parser: Any = None
        self._told: Told | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.open = True

    def ask(self, request: bytes, told: Told, began: float) -> asyncio.Future[None]:
        """Done when the answer is whole, or can never be."""
        self._told, self._began, self._body = told, began, bytearray()
        self.done: asyncio.Future[None] = self._loop.create_future()
        self._parser = httptools.HttpResponseParser(self)
        self.transport.write(request)
        return self.done

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        self._end("cut")

    def on_header(self, name: bytes, value: bytes) -> None:
        told, lowered = self._told, name.lower()
        assert told is not None
        if lowered == b"retry-after-ms":
            told.retry_after = float(value) / 1000
        elif lowered == b"retry-after" and told.retry_after is None:
            told.retry_after = float(value)
        elif lowered == b"x-should-retry":
            told.should_retry = value.decode()

    def on_body(self, body: bytes) -> None:
        assert self._told is not None
        if not self._body:
            self._told.first_byte = self._loop.time() - self._began
        self._body += body

    def on_message_complete(self) -> None:
        told = self._told
        assert told is not None
        told.status = self._parser.get_status_code()
        if not self._parser.should_keep_alive():
            self.open = False
            self.transport.close()
        self._end(_code(told.status, bytes(self._body)))

    def _end(self, code: str | None) -> None:
        told, self._told = self._told, None
        if told is not None and not self.done.done():
            told.code = code
            told.latency = self._loop.time() - self._began
            self.done.set_result(None)


def _code(status: int, body: bytes) -> str | None:
    """The error's, of an answer or of the last event."""
    if status != 200:
        try:
            return str(json.loads(body)["error"]["code"])
        except (ValueError, LookupError, TypeError):
            return "unreadable"
    if not body.startswith((b"data:", b":", b"event:")) or body.endswith(b"data: [DONE]\n\n"):
        return None
    last = body.rstrip().rpartition(b"\n\n")[2].removeprefix(b"data: ")
    try:
        return str(json.loads(last)["error"]["code"])
    except (ValueError, LookupError, TypeError):
        return "unended"


class OpenLoop:
    """Connections are reused where one is free, and never waited for."""

    def __init__(self, url: str, flows: Sequence[Flow], *, patience: float = 30.0, seed: int = 1) -> None:
        parts = urlsplit(url)
        self._address = parts.hostname, parts.port
        self._flows = flows
        self._patience = patience
        self._dice = random.Random(seed)
        self._idle: list[Connection] = []
        self._opened: list[Connection] = []

    async def run(self) -> Report:
        """Until the last call has been answered or its patience is over."""
        plan = [
            (due, flow.name, request)
            for flow, request in ((flow, flow.request()) for flow in self._flows)
            for due in flow.due(self._dice)
        ]
        plan.sort(key=lambda each: each[:2])
        report, loop = Report(), asyncio.get_running_loop()
        began = loop.time() + 0.05
        try:
            async with asyncio.TaskGroup() as calls:
                for due, name, request in plan:
                    if (early := began + due - loop.time()) > 0:
                        await asyncio.sleep(early)
                    report.late = max(report.late, loop.time() - began - due)
                    report.told.append(told := Told(name, due))
                    calls.create_task(self._call(request, told, began + due))
        finally:
            for connection in self._opened:
                connection.transport.abort()
            await asyncio.sleep(0)
        return report

    async def _call(self, request: bytes, told: Told, due: float) -> None:
        connection = None
        try:
            async with asyncio.timeout(self._patience):
                connection = await self._connection()
                await connection.ask(request, told, due)
        except TimeoutError:
            told.code = "patience"
        except OSError:
            told.code = "connect"
        if connection is not None and connection.open and told.code != "patience":
            self._idle.append(connection)
        elif connection is not None:
            connection.transport.abort()
        if math.isinf(told.latency):
            told.latency = asyncio.get_running_loop().time() - due

    async def _connection(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.open:
                return connection
        _, connection = await asyncio.get_running_loop().create_connection(Connection, *self._address)
        self._opened.append(connection)
        return connection


async def elsewhere(url: str, flows: Sequence[Flow], *, patience: float = 30.0, seed: int = 1) -> Report:
    """The same from a process of its own."""
    order = {"url": url, "flows": [asdict(flow) for flow in flows], "patience": patience, "seed": seed}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", __name__),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    try:
        said, _ = await process.communicate(json.dumps(order).encode())
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    assert process.returncode == 0
    found = json.loads(said)
    return Report([Told(**told) for told in found["told"]], found["late"])


def _main() -> None:
    order = json.load(sys.stdin)
    flows = [
        Flow(**flow | {"arrivals": tuple(flow["arrivals"]), "headers": tuple(map(tuple, flow["headers"]))})
        for flow in order["flows"]
    ]
    load = OpenLoop(order["url"], flows, patience=order["patience"], seed=order["seed"])
    json.dump(asdict(asyncio.run(load.run())), sys.stdout)


if __name__ == "__main__":
    _main()
