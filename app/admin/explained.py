"""Why a call went where it went, as operators see it; times in seconds, moments since 1970."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel


class LimitShown(BaseModel):
    """`used` counts what running calls have reserved."""

    rule: str
    allowed: bool
    limit: int
    used: int
    remaining: int
    reset_s: float
    retry_after_s: float


class EndpointNow(BaseModel):
    """`excluded`: what speaks against it now; null when it may be picked."""

    endpoint: str
    preferred: bool
    tier: int
    weight: int
    inflight: int
    limit: int
    back_in: float
    excluded: str | None


class CandidateThen(BaseModel):
    """As it stood when the call last looked for a place. A lower `preference` is asked first."""

    endpoint: str
    preference: int
    excluded: str | None


class AttemptShown(BaseModel):
    """`started_s` and `ended_s` since the call arrived; `hedge`: made while the one before was still running."""

    endpoint: str
    hedge: bool
    started_s: float
    ended_s: float
    elapsed_s: float
    ttft_s: float | None
    outcome: str
    status: int
    error_code: str | None
    reason: str | None
    finish: str | None


class Event(BaseModel):
    """excluded (endpoint: why) · waits (room, tenant_share) · fallback (from, to) · retry_refused (attempts, deaths, budget) ·
    hedge_refused (budget, room).
    """

    at_s: float
    what: str
    detail: dict[str, str] | str | None


class UsageShown(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    reasoning_tokens: int


class CallExplained(BaseModel):
    """`candidates` are those of then, `candidates_now` those of this moment. A refused call has no `elapsed_s`."""

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
    elapsed_s: float | None
    outcome: str
    status: int
    error_code: str | None
    message: str | None
    finish: str | None
    usage_source: str | None
    usage: UsageShown | None
    hedged: bool
    limits: list[LimitShown]
    attempts: list[AttemptShown]
    events: list[Event]
    candidates_at: Literal["dispatch"] | None
    candidates: list[CandidateThen]
    candidates_now: list[EndpointNow]
