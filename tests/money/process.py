"""A gateway that is a process of its own, can be killed at any moment, and is started again where it was."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import TYPE_CHECKING, Any

from app.settings.layers import merged
from app.store.pepper import Pepper
from app.store.reports import UsageFilter
from app.store.usage import UsageRow
from tests.house import DEFAULTS, SOON, chat
from tests.money.forked import forked
from tests.rawcaller import RawCaller, post
from tests.stores import opened

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess
    from pathlib import Path

SECRET = "a secret of the tests that is long enough"


class GatewayProcess:
    """`serve` over one database and on one port, as often as it takes; `keys` are its tenants'."""

    def __init__(self, folder: Path, url: str, endpoints: list[str], **settings: Any) -> None:
        self.folder, self.url, self.port = folder, url, _free_port()
        self.keys: list[str] = []
        here = {
            "database_url": url,
            "secret": SECRET,
            "server": {"port": self.port},
            "vllm_endpoints": [
                {"name": f"gpu-{number}", "url": endpoint, "models": ["tiny"]}
                for number, endpoint in enumerate(endpoints)
            ],
        }
        (folder / "sluice.yaml").write_text(json.dumps(merged(DEFAULTS, here, settings)))
        self._process: BaseProcess | None = None

    async def prepare(self, tenants: int = 1) -> None:
        """An empty database with a key for each tenant."""
        async with opened(self.url, pepper=Pepper(SECRET)) as stores:
            for number in range(tenants):
                tenant = await stores.tenants.create(f"tenant {number}")
                self.keys.append((await stores.keys.create(tenant.id))[1])

    async def start(self) -> None:
        """Returns when it answers."""
        self._process = forked(self.folder / "sluice.yaml", self.folder / "log")
        async with asyncio.timeout(3 * SOON):
            while not await self._answers():
                if not self._process.is_alive():
                    raise AssertionError((self.folder / "log").read_text()[-4000:])
                await asyncio.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL: nothing of it runs on when this returns."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
            self._process = None

    async def stop(self) -> None:
        """SIGTERM, and its orderly end."""
        assert self._process is not None
        self._process.terminate()
        async with asyncio.timeout(SOON):
            while self._process.is_alive():
                await asyncio.sleep(0.02)
        self._process.close()
        self._process = None

    async def caller(self) -> RawCaller:
        return RawCaller(*await asyncio.open_connection("127.0.0.1", self.port))

    def request(self, content: str, key: int = 0, **fields: Any) -> bytes:
        body = json.dumps(chat(content, **fields)).encode()
        headers = (f"Authorization: Bearer {self.keys[key]}", "Content-Type: application/json")
        return post("/v1/chat/completions", body, *headers)

    async def rows(self, state: str | None = None) -> list[UsageRow]:
        """The ledger as it lies in the database."""
        async with opened(self.url, pepper=Pepper(SECRET), migrated=False) as stores:
            return [row async for row in stores.reports.export(UsageFilter(state=state))]

    async def _answers(self) -> bool:
        try:
            caller = await self.caller()
        except OSError:
            return False
        caller.hang_up()
        return True


def _free_port() -> int:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        return int(holder.getsockname()[1])
