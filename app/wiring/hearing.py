"""Everything that hears of calls, and the metrics page that tells of it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app import __version__
from app.gateway.pace import Pace
from app.telemetry.access import AccessLog
from app.telemetry.decisions import DecisionLog
from app.telemetry.exposition import Metrics, Readings
from app.telemetry.inflight import InFlightTable
from app.telemetry.lag import LoopLag
from app.telemetry.metrics import CallMetrics
from app.telemetry.observers import Observers
from app.wire.learnt import Prompts

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.core.clock import Clock
    from app.settings import Settings
    from app.upstream.fleet import Fleet
    from app.wiring.storage import Storage


@dataclass(frozen=True, slots=True)
class Hearing:
    """The observers, together and one by one."""

    calls: CallMetrics
    access: AccessLog
    decisions: DecisionLog
    inflight: InFlightTable
    lag: LoopLag
    pace: Pace
    prompts: Prompts
    observers: Observers

    def metrics(self, fleet: Fleet, storage: Storage, reload_successful: Callable[[], bool]) -> Metrics:
        shared = storage.shared
        readings = Readings(
            fleet=fleet.status,
            inflight=self.inflight.by_model,
            ledger_pending=lambda: storage.ledger.pending,
            journal_backlog=lambda: storage.journal.backlog,
            store_up=lambda: storage.store_up,
            shared_limits_up=None if shared is None else lambda: shared.up,
            loop_lag=lambda: self.lag.worst,
            reload_successful=reload_successful,
            balances=lambda: storage.reconciliation.latest,
        )
        return Metrics(self.calls, readings, {"version": __version__}, self.observers.flush)

    def explain(self, call_id: str) -> dict[str, Any] | None:
        """As the decision log does, with all that has happened up to now."""
        self.observers.flush()
        return self.decisions.explain(call_id)

    def close(self) -> None:
        """Tell and write what waits."""
        self.observers.flush()
        self.access.flush()


def open_ears(settings: Settings, clock: Clock) -> Hearing:
    """The access log goes to standard output."""
    calls = CallMetrics(settings.metrics)
    access = AccessLog(settings.logging.access, _write_out, clock)
    decisions, pace, prompts = DecisionLog(), Pace(), Prompts()
    observers = Observers([calls, access, decisions, pace, prompts], clock)
    return Hearing(
        calls=calls,
        access=access,
        decisions=decisions,
        inflight=InFlightTable(clock, observers.closed),
        lag=LoopLag(clock),
        pace=pace,
        prompts=prompts,
        observers=observers,
    )


def _write_out(lines: bytes) -> None:
    sys.stdout.buffer.write(lines)
    sys.stdout.buffer.flush()
