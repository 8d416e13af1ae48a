"""What happened to each of the latest calls, kept small enough to keep many."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from app.telemetry.trail import Trail, told

if TYPE_CHECKING:
    from app.core.call import Call
    from app.core.errors import GatewayError
    from app.core.outcome import Settlement

KEPT = 5_000


class DecisionLog:
    """An Observer. Prompts and keys are not kept; the oldest call makes room for the newest."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._trails: OrderedDict[str, Trail] = OrderedDict()

    def rejected(self, call: Call, error: GatewayError) -> None:
        self._keep(call, "rejected", error.status, error.code, error.message, None)

    def settled(self, call: Call, settlement: Settlement) -> None:
        self._keep(call, settlement.outcome.word, settlement.status, settlement.error_code, None, settlement)

    def explain(self, call_id: str) -> dict[str, Any] | None:
        """Where the call went and why, as far as it is remembered; times in seconds."""
        trail = self._trails.get(call_id)
        return None if trail is None else told(trail)

    def _keep(
        self,
        call: Call,
        outcome: str,
        status: int,
        code: str | None,
        message: str | None,
        end: Settlement | None,
    ) -> None:
        key = call.key
        self._trails[call.id] = Trail(
            call.id,
            call.client_request_id,
            key.tenant.id,
            key.id,
            call.surface.name,
            call.model[:256],
            call.target,
            call.served_model,
            call.endpoint,
            call.started_at,
            call.queue_wait,
            call.first_byte,
            tuple(call.decisions),
            call.candidates,
            tuple(call.attempts),
            call.notes,
            outcome,
            status,
            code,
            message,
            None if end is None else end.finish,
            None if end is None else end.usage_source,
            None if end is None else end.usage,
            None if end is None else end.elapsed,
        )
        if len(self._trails) > self._kept:
            self._trails.popitem(last=False)

    def __len__(self) -> int:
        return len(self._trails)
