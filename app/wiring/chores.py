"""What the store needs done now and then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.store import engines, reconcile, reports, rollups
from app.tenancy.chores import Chore, Chores

if TYPE_CHECKING:
    from app.core.clock import Clock
    from app.store.database import Database
    from app.store.engines import EngineCounts
    from app.store.reconcile import Reconciliation


def store_chores(
    database: Database,
    counts: EngineCounts,
    reconciliation: Reconciliation,
    clock: Clock,
    retention: float,
) -> Chores:
    """Not started yet; `retention` in seconds."""
    ledger, sums = reports.Reports(database), rollups.Rollups(database)

    async def prune() -> None:
        before = clock.time() - retention
        await ledger.prune(before)
        await counts.prune(before)

    return Chores(
        clock,
        [
            Chore("summing calls up", rollups.EVERY, lambda: sums.reach(clock.time() - rollups.LAG)),
            Chore("keeping what engines counted", engines.EVERY, counts.keep),
            Chore("reconciling", reconcile.EVERY, lambda: reconciliation.look(clock.time())),
            Chore("pruning the ledger", reports.PRUNE_EVERY, prune),
        ],
    )
