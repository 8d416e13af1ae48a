"""The way to Redis: one connection, one batch at a time, and never a wait without an end."""

from __future__ import annotations

import asyncio
from hashlib import sha1
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import MsgspecError, msgpack
from redis.asyncio.connection import Connection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from app.core.patience import within

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection

SCRIPT = Path(__file__).with_name("limits.lua").read_bytes()
PREFIX = "sluice:{limits}:"
_SHA = sha1(SCRIPT, usedforsecurity=False).hexdigest()
_CONNECT = 0.5
_LAST_LOOK = 0.005

Answer = tuple[int, bool, int, bool, list[list[float]]]
"""What the script says of a batch; its first lines tell what each is."""

_unpack = msgpack.Decoder(Answer).decode


class Unreachable(Exception):
    """Redis did not answer in time, or not with an answer; whether it heard is not known."""


class Link:
    """`exchange` answers or raises Unreachable; then the connection is dropped and made anew."""

    def __init__(self, url: str) -> None:
        """`url`: redis://, rediss:// or unix://. Raises ValueError."""
        arguments: dict[str, Any] = dict(parse_url(url))
        self._kind: type[AbstractConnection] = arguments.pop("connection_class", Connection)
        self._arguments = arguments | {
            "socket_timeout": None,
            "socket_connect_timeout": None,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
            "driver_info": None,
        }
        self._connection: AbstractConnection | None = None

    async def exchange(self, batch: bytes, patience: float) -> Answer:
        """The script's answer, within `patience` seconds; a new connection has half a second besides."""
        try:
            if self._connection is None:
                await self._connect()
            answer = await self._evaluated(batch, patience)
            found: Answer = _unpack(answer)
            return found
        except (RedisError, OSError, TimeoutError, MsgspecError) as error:
            await self.aclose()
            raise Unreachable(f"{type(error).__name__}: {error}") from error
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    async def _connect(self) -> None:
        connection = self._kind(**self._arguments)
        self._connection = connection
        async with within(_CONNECT):
            await connection.connect()  # type: ignore[no-untyped-call]

    async def _evaluated(self, batch: bytes, patience: float) -> bytes:
        """Gives up late enough for a loop that was held up to see what had arrived in time."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(None) as limit:
            timer = loop.call_later(patience, lambda: limit.reschedule(loop.time() + _LAST_LOOK))
            try:
                return await self._evaluate("EVALSHA", _SHA, batch)
            except NoScriptError:
                return await self._evaluate("EVAL", SCRIPT, batch)
            finally:
                timer.cancel()

    async def _evaluate(self, command: str, script: str | bytes, batch: bytes) -> bytes:
        connection = self._connection
        if connection is None:
            raise ConnectionError("closed meanwhile")
        packed = connection.pack_command(command, script, 1, PREFIX, batch)
        await connection.send_packed_command(packed, check_health=False)
        answer: bytes = await connection.read_response(disable_decoding=True)
        return answer
