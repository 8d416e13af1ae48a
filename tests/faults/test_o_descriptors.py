"""A gateway that may open few files before callers who open many (FAULTS, O18)."""

from __future__ import annotations

import asyncio
import resource
from contextlib import ExitStack
from pathlib import Path

import httpx

from app.simulator import Simulator
from tests.faults.measure_overload import Gateway, free_port, process
from tests.house import SOON, chat, until
from tests.supervised import configured, wait

FILES = 256


async def test_o18_more_connections_than_files_are_no_end_and_no_busy_loop(tmp_path: Path):
    async with Simulator(ttft=0.001, itl=0.001) as simulator:
        data, ops = free_port(), free_port()
        server = {"host": "127.0.0.1", "port": data, "lame_duck": 0, "drain": 5}
        file = configured(tmp_path, [simulator.url], server=server, ops={"port": ops})
        with process("serve", "--config", str(file), folder=tmp_path) as pid, ExitStack() as stack:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (FILES, FILES))
            stack.callback((gateway := Gateway(pid, data, ops)).close)
            await asyncio.to_thread(wait, gateway.ready)
            key = await asyncio.to_thread(gateway.key, "team")
            await _flooded(gateway, data)
            headers = {"authorization": f"Bearer {key}"}
            async with httpx.AsyncClient(base_url=gateway.url, trust_env=False, timeout=SOON) as client:

                async def served() -> bool:
                    try:
                        reply = await client.post("/v1/chat/completions", json=chat(), headers=headers)
                    except httpx.TransportError:
                        return False
                    return reply.status_code == 200

                async with asyncio.timeout(SOON):
                    while not await served():
                        await asyncio.sleep(0.05)


async def _flooded(gateway: Gateway, port: int) -> None:
    """Open far more connections than it has files for, look at what that costs, and let go."""
    opened = [asyncio.open_connection("127.0.0.1", port) for _ in range(2 * FILES)]
    found = [
        each for each in await asyncio.gather(*opened, return_exceptions=True) if isinstance(each, tuple)
    ]
    assert len(found) > FILES / 2
    files = Path(f"/proc/{gateway.pid}/fd")
    await until(lambda: len(list(files.iterdir())) >= FILES - 16)
    before = gateway.cpu
    await asyncio.sleep(2)
    assert gateway.cpu - before < 1.0, "it waits rather than trying again and again"
    for _, writer in found:
        writer.transport.abort()
    await until(lambda: len(list(files.iterdir())) < FILES / 2)
