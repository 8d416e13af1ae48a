"""Days and months of the ledger's timezone: the periods of quotas and of reports."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from app.state.rule import Window, Windows

# Every timezone's hours begin on a quarter of an hour.
_SLOT = 900


class Calendar:
    """Asked with wall clock seconds; neighbouring moments are answered from memory."""

    def __init__(self, timezone: str = "UTC") -> None:
        self._zone = ZoneInfo(timezone)
        self._slot = -1
        self._hour = ""
        self._windows = Windows(Window(0.0, 0.0), Window(0.0, 0.0))

    def hour(self, wall: float) -> str:
        """As 2026-03-29T02:00+01:00; its first 10 characters are the day, its first 7 the month."""
        slot = int(wall // _SLOT)
        if slot != self._slot:
            local = datetime.fromtimestamp(wall, self._zone)
            self._hour = local.replace(minute=0, second=0, microsecond=0).isoformat(timespec="minutes")
            self._slot = slot
        return self._hour

    def windows(self, wall: float) -> Windows:
        """The day and the month that a moment belongs to, as long as summer time makes them."""
        day = self._windows.day
        if not day.start <= wall < day.end:
            midnight = datetime.fromtimestamp(wall, self._zone).replace(
                hour=0, minute=0, second=0, microsecond=0, fold=0
            )
            first = midnight.replace(day=1)
            next_month = (first + timedelta(days=32)).replace(day=1)
            self._windows = Windows(
                Window(midnight.timestamp(), (midnight + timedelta(days=1)).timestamp()),
                Window(first.timestamp(), next_month.timestamp()),
            )
        return self._windows
