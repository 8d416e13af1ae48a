"""Who pays: tenants, their keys, their limits, and a limiter's answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Limits:
    """None = unlimited. What a rate may let through at once, after a pause, is its burst: None = a minute's."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None
    tokens_per_day: int | None = None
    tokens_per_month: int | None = None
    requests_burst: int | None = None
    tokens_burst: int | None = None


UNLIMITED = Limits()


@dataclass(frozen=True, slots=True)
class Tenant:
    """`models`: None = all, empty = none. Lower `priority` is served first, as in vLLM.

    `strict`: a call reserves all that it may take, so that no limit is ever overrun by an answer.
    """

    id: str
    name: str
    limits: Limits = UNLIMITED
    model_limits: Mapping[str, Limits] = field(default_factory=dict)
    models: frozenset[str] | None = None
    priority: int = 0
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Key:
    """One credential of a tenant; what it may use is the intersection with its tenant's."""

    id: str
    tenant: Tenant
    name: str = ""
    limits: Limits = UNLIMITED
    models: frozenset[str] | None = None
    expires_at: float | None = None

    def may_use(self, *names: str) -> bool:
        """Whether tenant and key both grant one of a model's names (its alias or its real name)."""
        if self.models is not None and self.models.isdisjoint(names):
            return False
        return self.tenant.models is None or not self.tenant.models.isdisjoint(names)


NOBODY = Key(id="", tenant=Tenant(id="", name=""), models=frozenset())


class Decision(Struct, frozen=True, gc=False):
    """A limiter's answer about one rule; `rule` is a field name of Limits; seconds."""

    rule: str
    allowed: bool
    limit: int
    remaining: int
    reset_after: float
    retry_after: float = 0.0
