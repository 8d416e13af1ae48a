"""What happened to each of the latest calls, kept small enough to keep many."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.core.call import Attempt, Call
    from app.core.endpoint import EndpointSpec
    from app.core.errors import GatewayError
    from app.core.outcome import Settlement
    from app.core.tenant import Decision

KEPT = 10_000

_FIELDS = (
    *(
        "call_id",
        "client_request_id",
        "tenant_id",
        "key_id",
        "surface",
        "asked_model",
        "model",
        "served_model",
    ),
    *("endpoint", "started_at", "queue_wait_s", "ttft_s", "limits", "attempts", "outcome", "status"),
    *("error_code", "message", "finish", "usage_source", "usage", "elapsed_s"),
)


class DecisionLog:
    """An Observer. Prompts and keys are not kept; the oldest call makes room for the newest."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._ends: OrderedDict[str, tuple[Any, ...]] = OrderedDict()

    def rejected(self, call: Call, error: GatewayError) -> None:
        end = ("rejected", error.status, error.code, error.message, None, None, None, None)
        self._keep(call, end)

    def attempted(self, call: Call, endpoint: EndpointSpec, settlement: Settlement) -> None:
        """The call's trail holds it."""

    def settled(self, call: Call, settlement: Settlement) -> None:
        s = settlement
        end = (s.outcome.value, s.status, s.error_code, None, s.finish, s.usage_source, s.usage, s.elapsed)
        self._keep(call, end)

    def explain(self, call_id: str) -> dict[str, Any] | None:
        """Where the call went and why, as far as it is remembered; times in seconds."""
        end = self._ends.get(call_id)
        if end is None:
            return None
        told = dict(zip(_FIELDS, end, strict=True))
        told["limits"] = [_limit(decision) for decision in told["limits"]]
        told["attempts"] = [_attempt(attempt) for attempt in told["attempts"]]
        usage = told["usage"]
        told["usage"] = usage and {
            "prompt_tokens": usage.prompt,
            "completion_tokens": usage.completion,
            "cached_tokens": usage.cached,
            "reasoning_tokens": usage.reasoning,
        }
        return told

    def _keep(self, call: Call, end: tuple[Any, ...]) -> None:
        key = call.key
        self._ends[call.id] = (
            *(call.id, call.client_request_id, key.tenant.id, key.id, call.surface.name),
            *(call.model[:256], call.target, call.served_model, call.endpoint, call.started_at),
            *(call.queue_wait, call.first_byte, tuple(call.decisions), tuple(call.attempts)),
            *end,
        )
        if len(self._ends) > self._kept:
            self._ends.popitem(last=False)

    def __len__(self) -> int:
        return len(self._ends)


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
