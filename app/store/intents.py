"""What operators want of the fleet: kept over restarts, heard by every gateway within a second."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sqlalchemy import delete, insert, or_, select

from app.store.changes import stamp
from app.store.tables import fleet_intents

if TYPE_CHECKING:
    from app.core.clock import Clock
    from app.store.changes import Changes
    from app.store.database import Database

Wish = Literal["drain", "eject", "restore"]


@dataclass(frozen=True, slots=True)
class Intent:
    """`until` is wall clock, None = until taken back."""

    endpoint: str
    intent: Wish
    reason: str
    actor: str
    until: float | None
    created_at: float


class Intents:
    """One wish per endpoint, the last one said. Subscribe to the changes of `fleet` to hear of them."""

    def __init__(self, database: Database, changes: Changes, clock: Clock) -> None:
        self._database = database
        self._changes = changes
        self._clock = clock

    async def all(self) -> dict[str, Intent]:
        """Those in force, by endpoint; whoever holds them lets them end at `until`."""
        lasting = or_(fleet_intents.c.until.is_(None), fleet_intents.c.until > self._clock.time())
        async with self._database.read() as connection:
            rows = (await connection.execute(select(fleet_intents).where(lasting))).mappings().all()
        return {row["endpoint"]: Intent(**row) for row in rows}

    async def say(
        self, endpoint: str, intent: Wish, *, actor: str, reason: str = "", seconds: float | None = None
    ) -> None:
        """`seconds`: for how long, None = until taken back."""
        now = self._clock.time()
        row = Intent(endpoint, intent, reason, actor, None if seconds is None else now + seconds, now)
        values = {name: getattr(row, name) for name in fleet_intents.columns.keys()}  # noqa: SIM118
        async with self._database.write() as connection:
            await stamp(connection, "fleet")
            await connection.execute(delete(fleet_intents).where(fleet_intents.c.endpoint == endpoint))
            await connection.execute(insert(fleet_intents).values(values))
        await self._changes.look()

    async def take_back(self, endpoint: str) -> bool:
        """False when there was no wish."""
        async with self._database.write() as connection:
            await stamp(connection, "fleet")
            gone = await connection.execute(delete(fleet_intents).where(fleet_intents.c.endpoint == endpoint))
        await self._changes.look()
        return gone.rowcount > 0
