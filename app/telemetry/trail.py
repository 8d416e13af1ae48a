"""What is kept of a call that has ended, and how it is told to whoever asks why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import asdict

if TYPE_CHECKING:
    from app.core.call import Attempt, Candidate, Note
    from app.core.outcome import Usage
    from app.core.tenant import Decision


class Trail(Struct, gc=False):
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
    candidates: tuple[Candidate, ...]
    attempts: tuple[Attempt, ...]
    notes: tuple[Note, ...]
    outcome: str
    status: int
    error_code: str | None
    message: str | None
    finish: str | None
    usage_source: str | None
    usage: Usage | None
    elapsed_s: float | None


def told(trail: Trail) -> dict[str, Any]:
    """JSON for operators; times in seconds, those of attempts and events since the call arrived."""
    usage = trail.usage
    return asdict(trail) | {
        "limits": [limit(decision) for decision in trail.limits],
        "candidates_at": "dispatch" if trail.candidates else None,
        "candidates": _candidates(trail),
        "attempts": [_attempt(attempt) for attempt in trail.attempts],
        "hedged": any(attempt.hedge for attempt in trail.attempts),
        "events": [_event(note) for note in trail.notes],
        "usage": usage
        and {
            "prompt_tokens": usage.prompt,
            "completion_tokens": usage.completion,
            "cached_tokens": usage.cached,
            "reasoning_tokens": usage.reasoning,
        },
    }


def limit(decision: Decision) -> dict[str, Any]:
    """One limit as the call found it."""
    return {
        "rule": decision.rule,
        "allowed": decision.allowed,
        "limit": decision.limit,
        "used": decision.limit - decision.remaining,
        "remaining": decision.remaining,
        "reset_s": decision.reset_after,
        "retry_after_s": decision.retry_after,
    }


def _candidates(trail: Trail) -> list[dict[str, Any]]:
    """As they stood when the call last looked for a place; of equals in preference none speaks against another."""
    excluded: dict[str, str] = {}
    for note in trail.notes:
        if note.what == "excluded":
            excluded = dict(note.told)
        elif note.what == "fallback":
            excluded = {}
    free = [rank for name, rank, reason in trail.candidates if reason is None and name not in excluded]
    best = min(free, default=0)
    return [
        {
            "endpoint": name,
            "preference": rank,
            "excluded": reason or excluded.get(name) or ("less_preferred" if rank > best else None),
        }
        for name, rank, reason in trail.candidates
    ]


def _attempt(attempt: Attempt) -> dict[str, Any]:
    settlement = attempt.settlement
    return {
        "endpoint": attempt.endpoint,
        "hedge": attempt.hedge,
        "started_s": attempt.started,
        "ended_s": attempt.ended,
        "outcome": settlement.outcome.value,
        "status": settlement.status,
        "error_code": settlement.error_code,
        "reason": settlement.reason,
        "finish": settlement.finish,
        "ttft_s": settlement.first_byte,
        "elapsed_s": max(0.0, attempt.ended - attempt.started),
    }


def _event(note: Note) -> dict[str, Any]:
    """Excluded (endpoint -> why) · waits · fallback (from, to) · retry_refused, hedge_refused (by what)."""
    detail = dict(note.told) if isinstance(note.told, tuple) else note.told
    return {"at_s": note.at, "what": note.what, "detail": detail}
