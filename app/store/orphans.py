"""Finds the calls that a dead gateway left open and ends them with what is known."""

from __future__ import annotations

import os
import secrets
import socket
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select, update

from app.store.tables import gateways, unfinished, usage

if TYPE_CHECKING:
    from app.core.clock import Clock
    from app.store.database import Database

HEARTBEAT = 5.0
DEAD_AFTER = 20.0


def gateway_id() -> str:
    """Names one process from its start to its end: host, process id, and what no other process has."""
    return f"{socket.gethostname()[:80]}:{os.getpid()}:{secrets.token_hex(6)}"


class Orphans:
    """A gateway is dead when its process on this host is gone, or when it was not seen for 20 s.

    One that was only out of touch loses nothing: its own end of a call replaces the guess.
    """

    def __init__(self, database: Database, clock: Clock, gateway: str) -> None:
        self._database = database
        self._clock = clock
        self._gateway = gateway

    async def seen(self) -> None:
        """Say that this gateway lives."""
        async with self._database.write() as connection:
            now = self._clock.time()
            mine = gateways.c.id == self._gateway
            known = await connection.execute(update(gateways).where(mine).values(seen_at=now))
            if not known.rowcount:
                await connection.execute(insert(gateways).values(id=self._gateway, seen_at=now))

    async def gone(self) -> None:
        """Say that this gateway ended in peace, without open calls."""
        async with self._database.write() as connection:
            await connection.execute(delete(gateways).where(gateways.c.id == self._gateway))

    async def close(self) -> int:
        """How many calls were ended: settled, `crashed`, with the usage their open row holds.

        That is a checkpoint: more may have been generated since, so that it counts as an estimate.
        """
        async with self._database.write(limit=60.0) as connection:
            open_at = list(await connection.scalars(select(usage.c.gateway).where(unfinished).distinct()))
            rows = await connection.execute(select(gateways.c.id, gateways.c.seen_at))
            seen = {row.id: row.seen_at for row in rows}
            dead = [name for name in {*open_at, *seen} if self._dead(name, seen.get(name))]
            if not dead:
                return 0
            orphaned = update(usage).where(unfinished, usage.c.gateway.in_(dead))
            crashed = {"state": "settled", "finish": "crashed", "usage_source": "estimated"}
            closed = await connection.execute(orphaned.values(crashed))
            await connection.execute(delete(gateways).where(gateways.c.id.in_(dead)))
            return closed.rowcount

    def _dead(self, name: str, seen_at: float | None) -> bool:
        if name == self._gateway:
            return False
        host, _, rest = name.partition(":")
        process = rest.partition(":")[0]
        if host == self._gateway.partition(":")[0] and process.isdigit() and not _runs(int(process)):
            return True
        return seen_at is None or self._clock.time() - seen_at > DEAD_AFTER


def _runs(process: int) -> bool:
    """Another process with our own id was here before us."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
