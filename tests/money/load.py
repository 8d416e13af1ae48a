"""Callers that ask without a pause, and remember what they saw whole and what had only begun."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import dataclass, field

from tests.house import until
from tests.money.process import GatewayProcess
from tests.rawcaller import RawCaller

FEWEST = 11
DONE = b"data: [DONE]\n\n"
BROKEN = (OSError, EOFError, asyncio.LimitOverrunError)


@dataclass
class Load:
    """Mixed calls of several tenants: streams and JSON, short and long.

    `whole` are the calls whose last byte somebody saw, with the completion tokens it was told, if any;
    `begun` those of which somebody saw a first byte; `other` counts answers that were no 200.
    """

    chance: random.Random
    whole: dict[str, int | None] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)
    other: list[int] = field(default_factory=list)

    async def run(self, gateway: GatewayProcess, callers: int, seconds: float) -> None:
        """Until the gateway has left every caller alone: killed after so many seconds, and some answers."""
        asking = [
            asyncio.create_task(self._ask(gateway, random.Random(self.chance.random())))
            for _ in range(callers)
        ]
        enough = len(self.whole) + FEWEST
        await asyncio.sleep(seconds)
        await until(lambda: len(self.whole) >= enough)
        gateway.kill()
        async with asyncio.timeout(10):
            await asyncio.gather(*asking)

    async def _ask(self, gateway: GatewayProcess, chance: random.Random) -> None:
        try:
            caller = await gateway.caller()
        except OSError:
            return
        try:
            while True:
                stream = chance.random() < 0.5
                content = f"{chance.randint(1, 40)} tokens"
                key = chance.randrange(len(gateway.keys))
                caller.say(gateway.request(content, key, stream=stream))
                await self._hear(caller, stream=stream)
        except BROKEN:
            return
        finally:
            caller.hang_up()

    async def _hear(self, caller: RawCaller, *, stream: bool) -> None:
        head = (await caller.reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        status = int(head.split(" ")[1])
        headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:-2])
        call_id = headers["x-request-id"]
        if status == 200 and stream:
            self.begun.add(call_id)
            await caller.reader.readuntil(DONE)
            self.whole[call_id] = None
            await caller.reader.readuntil(b"0\r\n\r\n")
            return
        body = await caller.reader.readexactly(int(headers["content-length"]))
        if status == 200:
            self.whole[call_id] = json.loads(body)["usage"]["completion_tokens"]
        else:
            self.other.append(status)
