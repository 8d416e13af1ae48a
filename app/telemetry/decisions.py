"""What happened to each of the latest calls, kept small enough to keep many."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import asdict

if TYPE_CHECKING:
    from app.core.call import Attempt, Call
    from app.core.errors import GatewayError
    from app.core.outcome import Settlement, Usage
    from app.core.tenant import Decision

KEPT = 10_000


class _Trail(Struct, gc=False):
    """One call. The collector need not visit thousands of them: they hold values and no way back."""

    call_id: str
    client_request_id: str | None
    tenant_id: str
    key_id: str
    surface: str
    asked_model: str
    model: str
    served_model: str | None
    endpoint: str | None
    started_at: float
    queue_wait_s: float
    ttft_s: float | None
    limits: tuple[Decision, ...]
    attempts: tuple[Attempt, ...]
    outcome: str
    status: int
    error_code: str | None
    message: str | None
    finish: str | None
    usage_source: str | None
    usage: Usage | None
    elapsed_s: float | None


class DecisionLog:
    """An Observer. Prompts and keys are not kept; the oldest call makes room for the newest."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._trails: OrderedDict[str, _Trail] = OrderedDict()

    def rejected(self, call: Call, error: GatewayError) -> None:
        self._keep(call, "rejected", error.status, error.code, error.message, None)

    def settled(self, call: Call, settlement: Settlement) -> None:
        self._keep(call, settlement.outcome.value, settlement.status, settlement.error_code, None, settlement)

    def explain(self, call_id: str) -> dict[str, Any] | None:
        """Where the call went and why, as far as it is remembered; times in seconds."""
        trail = self._trails.get(call_id)
        if trail is None:
            return None
        told = asdict(trail)
        told["limits"] = [_limit(decision) for decision in trail.limits]
        told["attempts"] = [_attempt(attempt) for attempt in trail.attempts]
        told["usage"] = trail.usage and {
            "prompt_tokens": trail.usage.prompt,
            "completion_tokens": trail.usage.completion,
            "cached_tokens": trail.usage.cached,
            "reasoning_tokens": trail.usage.reasoning,
        }
        return told

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
        self._trails[call.id] = _Trail(
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
            tuple(call.attempts),
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


def _limit(decision: Decision) -> dict[str, Any]:
    return {
        "rule": decision.rule,
        "allowed": decision.allowed,
        "limit": decision.limit,
        "used": decision.limit - decision.remaining,
        "reset_s": decision.reset_after,
        "retry_after_s": decision.retry_after,
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    settlement = attempt.settlement
    return {
        "endpoint": attempt.endpoint,
        "started_s": attempt.started,
        "outcome": settlement.outcome.value,
        "status": settlement.status,
        "error_code": settlement.error_code,
        "reason": settlement.reason,
        "finish": settlement.finish,
        "ttft_s": settlement.first_byte,
        "elapsed_s": settlement.elapsed,
    }
