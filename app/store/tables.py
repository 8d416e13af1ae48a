"""The tables, as the newest migration leaves them; indexes over a part of one are in `indexes`."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _document(name: str) -> Column[object]:
    return Column(name, JSON(none_as_null=True))


tenants = Table(
    "tenants",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", Text, nullable=False),
    _document("limits"),
    _document("model_limits"),
    _document("models"),
    Column("priority", Integer, nullable=False),
    Column("disabled", Boolean, nullable=False),
    _document("metadata"),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("deleted_at", Double),
    Column("version", BigInteger, nullable=False, index=True),
)
living = tenants.c.deleted_at.is_(None)

keys = Table(
    "keys",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("tenant_id", String(64), ForeignKey("tenants.id"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    _document("limits"),
    _document("models"),
    _document("metadata"),
    Column("expires_at", Double),
    Column("disabled", Boolean, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("revoked_at", Double),
)

secrets = Table(
    "secrets",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("key_id", String(64), ForeignKey("keys.id"), nullable=False, index=True),
    Column("prefix", String(16), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
)

usage = Table(
    "usage",
    metadata,
    Column("call_id", String(64), primary_key=True),
    Column("client_request_id", String(128)),
    Column("tenant_id", String(64), nullable=False),
    Column("key_id", String(64), nullable=False),
    Column("model", Text, nullable=False),
    Column("served_model", Text),
    Column("endpoint", Text),
    Column("surface", String(32), nullable=False),
    Column("state", String(8), nullable=False),
    Column("usage_source", String(16)),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),
    Column("reasoning_tokens", BigInteger, nullable=False),
    Column("wasted_tokens", BigInteger, nullable=False),
    Column("cost", Double, nullable=False),
    Column("finish", String(32)),
    Column("status", Integer),
    Column("error_code", String(64)),
    Column("started_at", Double, nullable=False),
    Column("ttft_s", Double),
    Column("elapsed_s", Double),
    Column("attempts", Integer, nullable=False),
    Column("hour", String(25), nullable=False),
    Column("gateway", String(128), nullable=False),
)
Index("ix_usage_started_at", usage.c.started_at, usage.c.call_id)
Index("ix_usage_tenant_id_started_at", usage.c.tenant_id, usage.c.started_at)
unfinished = usage.c.state == text("'open'")


def _sums() -> list[Column[object]]:
    counts = (
        *("requests", "errors", "prompt_tokens", "completion_tokens"),
        *("cached_tokens", "reasoning_tokens", "wasted_tokens"),
    )
    return [
        *(Column(name, BigInteger, nullable=False) for name in counts),
        Column("cost", Double, nullable=False),
    ]


def _summed(period: str, size: int) -> list[Column[object]]:
    """What ended calls are summed by; an unknown endpoint is the empty string."""
    return [
        Column(period, String(size), nullable=False),
        Column("tenant_id", String(64), nullable=False),
        Column("key_id", String(64), nullable=False),
        Column("model", Text, nullable=False),
        Column("endpoint", Text, nullable=False),
        Column("surface", String(32), nullable=False),
        Column("state", String(8), nullable=False),
    ]


def _rolled(name: str, period: str, size: int) -> Table:
    columns: list[Column[object]] = [Column("start", BigInteger, nullable=False), *_summed(period, size)]
    key = PrimaryKeyConstraint(*(column.name for column in columns))
    return Table(name, metadata, *columns, *_sums(), key, sqlite_with_rowid=False)


usage_quarters = _rolled("usage_quarters", "hour", 25)
usage_hours = _rolled("usage_hours", "hour", 25)
usage_days = _rolled("usage_days", "day", 10)
Index("ix_usage_quarters_tenant_id_start", usage_quarters.c.tenant_id, usage_quarters.c.start)
Index("ix_usage_hours_tenant_id_start", usage_hours.c.tenant_id, usage_hours.c.start)
Index("ix_usage_days_tenant_id_start", usage_days.c.tenant_id, usage_days.c.start)
usage_late = Table(
    "usage_late",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("started_at", Double, nullable=False),
    *_summed("hour", 25),
    *_sums(),
)

engine_counts = Table(
    "engine_counts",
    metadata,
    Column("endpoint", Text, primary_key=True),
    Column("series", Text, primary_key=True),
    Column("life", Double, primary_key=True),
    Column("start", BigInteger, primary_key=True, autoincrement=False),
    Column("first_at", Double, nullable=False),
    Column("first_prompt", BigInteger, nullable=False),
    Column("first_completion", BigInteger, nullable=False),
    Column("last_at", Double, nullable=False),
    Column("last_prompt", BigInteger, nullable=False),
    Column("last_completion", BigInteger, nullable=False),
)

gateways = Table(
    "gateways",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("seen_at", Double, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("at", Double, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", String(64), nullable=False),
    Column("subject", Text, nullable=False),
    Column("origin", String(64), nullable=False),
    _document("detail"),
)

fleet_intents = Table(
    "fleet_intents",
    metadata,
    Column("endpoint", Text, primary_key=True),
    Column("intent", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("until", Double),
    Column("created_at", Double, nullable=False),
)

counters = Table(
    "counters",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

meta = Table(
    "meta",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", Text, nullable=False),
)
