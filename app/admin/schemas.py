"""The bodies operators send and see; what a body does not know it refuses, field by field."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, Field

from app.admin.fields import Moment, Name, Span, Text
from app.wire.body import encode

if TYPE_CHECKING:
    from app.store.keys import KeyRow
    from app.store.tenants import TenantRow

_LARGEST_METADATA = 16 * 1024

Limit = Annotated[int, Field(ge=0, le=2**53)]
Burst = Annotated[int, Field(gt=0, le=2**53)]
ModelNames = Annotated[list[Annotated[Text, Field(min_length=1)]], Field(max_length=1000)]


def _small(metadata: dict[str, Any]) -> dict[str, Any]:
    if len(encode(metadata)) > _LARGEST_METADATA:
        raise ValueError("should be at most 16 KiB of JSON")
    return metadata


Metadata = Annotated[dict[str, Any], AfterValidator(_small)]


class Body(BaseModel, frozen=True, extra="forbid", strict=True):
    """What was sent is what was set: absent fields stay out of `sent`."""

    def sent(self) -> dict[str, Any]:
        return self.model_dump(exclude_unset=True)


class LimitsBody(Body, frozen=True):
    """null = unlimited. A burst is what a rate lets through at once after a pause; null = a minute's worth."""

    requests_per_minute: Limit | None = None
    tokens_per_minute: Limit | None = None
    concurrency: Limit | None = None
    tokens_per_day: Limit | None = None
    tokens_per_month: Limit | None = None
    requests_burst: Burst | None = None
    tokens_burst: Burst | None = None


class TenantFields(Body, frozen=True):
    """`models`: null = all, [] = none. Lower `priority` is served first.

    `strict`: a call reserves all that its answer may take, so that no answer overruns a limit.
    """

    limits: LimitsBody | None = None
    model_limits: dict[Annotated[Text, Field(min_length=1)], LimitsBody | None] | None = Field(
        default=None, max_length=1000
    )
    models: ModelNames | None = None
    priority: Annotated[int, Field(ge=-(2**31), lt=2**31)] | None = None
    strict: bool | None = None
    disabled: bool | None = None
    metadata: Metadata | None = None


class TenantNew(TenantFields, frozen=True):
    name: Name


class TenantPatch(TenantFields, frozen=True):
    """Absent = unchanged."""

    name: Name = ""


class KeyNew(Body, frozen=True):
    """`models`: null = all the tenant may use."""

    name: Text | None = None
    expires_at: Moment | None = None
    models: ModelNames | None = None
    limits: LimitsBody | None = None
    metadata: Metadata | None = None


class KeyPatch(KeyNew, frozen=True):
    """Absent = unchanged."""

    disabled: bool | None = None


class Rotation(Body, frozen=True):
    """For how long the older secrets go on to work; null = not at all."""

    overlap_seconds: Span | None = None


class FleetOrder(Body, frozen=True):
    """`for`: 30s, 10m or seconds; null = until taken back."""

    seconds: Span | None = Field(default=None, alias="for")
    reason: Text = ""


class TenantShown(BaseModel):
    """Times are seconds since 1970."""

    id: str
    object: str = "tenant"
    name: str
    limits: LimitsBody
    model_limits: dict[str, LimitsBody]
    models: list[str] | None
    priority: int
    strict: bool
    disabled: bool
    metadata: dict[str, Any]
    created_at: float
    updated_at: float

    @classmethod
    def of(cls, row: TenantRow) -> TenantShown:
        return cls.model_validate(asdict(row))


class KeyShown(BaseModel):
    """`prefix` is how its newest secret begins. Times are seconds since 1970."""

    id: str
    object: str = "key"
    tenant_id: str
    name: str
    prefix: str
    limits: LimitsBody
    models: list[str] | None
    metadata: dict[str, Any]
    expires_at: float | None
    disabled: bool
    created_at: float
    updated_at: float

    @classmethod
    def of(cls, row: KeyRow) -> KeyShown:
        return cls.model_validate(asdict(row))


class KeyMade(KeyShown):
    """The only time the secret is shown."""

    secret: str

    @classmethod
    def with_secret(cls, row: KeyRow, secret: str) -> KeyMade:
        return cls.model_validate(asdict(row) | {"secret": secret})
