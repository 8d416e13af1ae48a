"""The dry run: what an operator asks, and what would become of the call; times in seconds."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from app.admin.explained import EndpointNow, LimitShown
from app.admin.fields import Text
from app.admin.schemas import Body

Tokens = Annotated[int, Field(ge=0, le=2**53)]


class Rehearsed(Body, frozen=True):
    """Who asks: a key, a tenant, or neither for somebody without limits. `surface` is a path.

    `body` is a request as the caller would send it; without one, `model`, `stream`, `prompt_tokens` and
    `max_tokens` stand for it. `session` is what the session header would say.
    """

    tenant_id: Text | None = None
    key_id: Text | None = None
    surface: Text = "/v1/chat/completions"
    model: Text | None = None
    body: dict[str, Any] | None = None
    stream: bool | None = None
    prompt_tokens: Tokens | None = None
    max_tokens: Tokens | None = None
    session: Text | None = None


class LimitForecast(LimitShown):
    """`of` says whose limit it is, `cost` what the call would take of it: tokens, or 1."""

    of: str
    cost: int


class ErrorShown(BaseModel):
    status: int
    code: str
    message: str
    param: str | None
    retry_after_s: float | None


class Naming(BaseModel):
    """`by`: name, alias or default."""

    asked: str | None
    resolved: str
    by: Literal["name", "alias", "default"]
    fallbacks: list[str]


class Queue(BaseModel):
    """`expected_wait_s`: by the pace of the moment, null without end; `refuses`: what would turn it away at once."""

    waiting: int
    expected_wait_s: float | None
    refuses: str | None


class HedgeShown(BaseModel):
    """`after_s` is null while too few calls were seen."""

    covered: bool
    after_s: float | None
    affordable: bool


class Timeouts(BaseModel):
    connect_s: float
    first_byte_s: float | None
    idle_s: float | None
    total_s: float


class Outbound(BaseModel):
    """Names of the body's fields that differ at the endpoint."""

    added: list[str]
    removed: list[str]
    changed: list[str]


class Route(BaseModel):
    """Of one model; where it has no endpoint at all, only `would` is known. `resumes`: if the stream broke off."""

    model: str
    would: Literal["dispatch", "wait", "refuse"]
    endpoint: str | None = None
    error: ErrorShown | None = None
    candidates: list[EndpointNow] = []
    queue: Queue | None = None
    hedge: HedgeShown | None = None
    resumes: bool = False
    max_attempts: int | None = None
    timeouts: Timeouts | None = None
    outbound: Outbound | None = None


class DryRun(BaseModel):
    """`error` is the first thing the caller would be told. `limits_counted`: by this process, in redis, or by
    its share while Redis is away, which is less than the whole. `routes`: the model, then the fallbacks tried.
    `worker`: whose view of the endpoints it is, where there are several.
    """

    would: Literal["dispatch", "wait", "refuse"]
    endpoint: str | None
    error: ErrorShown | None
    worker: int | None
    tenant_id: str | None
    key_id: str | None
    key_unusable: Literal["disabled", "expired", "tenant_disabled"] | None
    surface: str
    streams: bool
    prompt_tokens: int
    completion_limit: int | None
    model: Naming
    allowed: bool
    limits_counted: Literal["process", "redis", "share"]
    limits: list[LimitForecast]
    routes: list[Route]
