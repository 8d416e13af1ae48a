"""Sums of the ledger by quarter of an hour, hour and day, and what the engines themselves counted.

Triggers note every change of a call that the sums hold already, whoever writes it, so that releases which
know nothing of the sums keep them right.
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_COUNTS = (
    "requests",
    "errors",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "wasted_tokens",
)
_KEY = ("tenant_id", "key_id", "model", "endpoint", "surface", "state")


def upgrade() -> None:
    rolled = (("usage_quarters", "hour", 25), ("usage_hours", "hour", 25), ("usage_days", "day", 10))
    for name, period, size in rolled:
        key = ("start", period, *_KEY)
        start = sa.Column("start", sa.BigInteger, nullable=False)
        columns = (start, *_summed(period, size), *_sums(), sa.PrimaryKeyConstraint(*key, name=f"pk_{name}"))
        op.create_table(name, *columns, sqlite_with_rowid=False)
        op.create_index(f"ix_{name}_tenant_id_start", name, ["tenant_id", "start"])
    op.create_table(
        "usage_late",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False, autoincrement=True
        ),
        sa.Column("started_at", sa.Double, nullable=False),
        *_summed("hour", 25),
        *_sums(),
        sa.PrimaryKeyConstraint("id", name="pk_usage_late"),
    )
    op.execute("INSERT INTO counters (name, value) VALUES ('rolled', 0), ('rolling', 0)")
    if op.get_bind().dialect.name == "sqlite":
        _notice_on_sqlite()
    else:
        _notice_on_postgresql()
    _engines()


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for name in ("usage_inserted", "usage_updated", "usage_replaced"):
            op.execute(f"DROP TRIGGER {name}")
    else:
        op.execute("DROP TRIGGER usage_ended ON usage")
        op.execute("DROP FUNCTION usage_ended()")
    op.execute("DELETE FROM counters WHERE name IN ('rolled', 'rolling')")
    for table in ("engine_counts", "usage_late", "usage_days", "usage_hours", "usage_quarters"):
        op.drop_table(table)


def _summed(period: str, size: int) -> list[sa.Column[object]]:
    return [
        sa.Column(period, sa.String(size), nullable=False),
        sa.Column("tenant_id", sa.String(64), nullable=False),
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("surface", sa.String(32), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
    ]


def _sums() -> list[sa.Column[object]]:
    counts = [sa.Column(name, sa.BigInteger, nullable=False) for name in _COUNTS]
    return [*counts, sa.Column("cost", sa.Double, nullable=False)]


def _engines() -> None:
    op.create_table(
        "engine_counts",
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("series", sa.Text, nullable=False),
        sa.Column("life", sa.Double, nullable=False),
        sa.Column("start", sa.BigInteger, nullable=False),
        sa.Column("first_at", sa.Double, nullable=False),
        sa.Column("first_prompt", sa.BigInteger, nullable=False),
        sa.Column("first_completion", sa.BigInteger, nullable=False),
        sa.Column("last_at", sa.Double, nullable=False),
        sa.Column("last_prompt", sa.BigInteger, nullable=False),
        sa.Column("last_completion", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("endpoint", "series", "life", "start", name="pk_engine_counts"),
    )


def _noted(row: str, sign: str) -> str:
    """What one ended call adds to the sums, or takes from them."""
    columns = ("started_at", "hour", *_KEY, *_COUNTS, "cost")
    failed = (
        f"COALESCE({row}.status, 0) <> 499"
        f" AND ({row}.error_code IS NOT NULL OR COALESCE({row}.status, 0) >= 400)"
    )
    values = (
        *(f"{row}.{name}" for name in ("started_at", "hour", "tenant_id", "key_id", "model")),
        f"COALESCE({row}.endpoint, '')",
        *(f"{row}.{name}" for name in ("surface", "state")),
        f"{sign}1",
        f"CASE WHEN {failed} THEN {sign}1 ELSE 0 END",
        *(f"{sign}{row}.{name}" for name in (*_COUNTS[2:], "cost")),
    )
    return f"INSERT INTO usage_late ({', '.join(columns)}) VALUES ({', '.join(values)});"  # noqa: S608


def _notice_on_sqlite() -> None:
    for name, when, row, sign in (
        ("usage_inserted", "INSERT", "NEW", ""),
        ("usage_updated", "UPDATE", "NEW", ""),
        ("usage_replaced", "UPDATE", "OLD", "-"),
    ):
        past = f"{row}.started_at < (SELECT value FROM counters WHERE name = 'rolling')"  # noqa: S608
        op.execute(
            f"CREATE TRIGGER {name} AFTER {when} ON usage"
            f" WHEN {row}.state <> 'open' AND {past} BEGIN {_noted(row, sign)} END"
        )


def _notice_on_postgresql() -> None:
    op.execute(
        f"""
        CREATE FUNCTION usage_ended() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE rolling bigint := (SELECT value FROM counters WHERE name = 'rolling');
        BEGIN
          IF NEW.started_at < rolling THEN {_noted("NEW", "")} END IF;
          IF TG_OP = 'UPDATE' THEN
            IF OLD.state <> 'open' AND OLD.started_at < rolling THEN {_noted("OLD", "-")} END IF;
          END IF;
          RETURN NULL;
        END $$
        """  # noqa: S608
    )
    op.execute(
        "CREATE TRIGGER usage_ended AFTER INSERT OR UPDATE ON usage FOR EACH ROW"
        " WHEN (NEW.state <> 'open') EXECUTE FUNCTION usage_ended()"
    )
