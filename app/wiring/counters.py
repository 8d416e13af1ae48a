"""Where the limits are counted: in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.state.memory import MemoryCounters

if TYPE_CHECKING:
    from app.core.clock import Clock
    from app.settings import Settings
    from app.tenancy.limiter import SharedCounters


def open_counters(settings: Settings, clock: Clock) -> SharedCounters:
    return MemoryCounters(clock)
