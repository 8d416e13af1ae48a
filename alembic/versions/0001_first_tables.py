"""Tenants, their keys, the ledger, the audit, the fleet's intents."""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _who_pays()
    _ledger()
    _operations()


def downgrade() -> None:
    for table in (
        "meta",
        "counters",
        "fleet_intents",
        "audit",
        "gateways",
        "usage",
        "secrets",
        "keys",
        "tenants",
    ):
        op.drop_table(table)


def _who_pays() -> None:
    op.create_table(
        "tenants",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("limits", sa.JSON),
        sa.Column("model_limits", sa.JSON),
        sa.Column("models", sa.JSON),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("disabled", sa.Boolean, nullable=False),
        sa.Column("metadata", sa.JSON),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
        sa.Column("deleted_at", sa.Double),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_tenants"),
    )
    op.create_index("ix_tenants_version", "tenants", ["version"])
    living = sa.text("deleted_at IS NULL")
    op.create_index(
        "uq_tenants_living_name",
        "tenants",
        ["name"],
        unique=True,
        sqlite_where=living,
        postgresql_where=living,
    )
    op.create_table(
        "keys",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("tenant_id", sa.String(64), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("limits", sa.JSON),
        sa.Column("models", sa.JSON),
        sa.Column("metadata", sa.JSON),
        sa.Column("expires_at", sa.Double),
        sa.Column("disabled", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
        sa.Column("revoked_at", sa.Double),
        sa.PrimaryKeyConstraint("id", name="pk_keys"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_keys_tenant_id"),
    )
    op.create_index("ix_keys_tenant_id", "keys", ["tenant_id"])
    op.create_table(
        "secrets",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("prefix", sa.String(16), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double),
        sa.PrimaryKeyConstraint("digest", name="pk_secrets"),
        sa.ForeignKeyConstraint(["key_id"], ["keys.id"], name="fk_secrets_key_id"),
    )
    op.create_index("ix_secrets_key_id", "secrets", ["key_id"])


def _ledger() -> None:
    op.create_table(
        "usage",
        sa.Column("call_id", sa.String(64), nullable=False),
        sa.Column("client_request_id", sa.String(128)),
        sa.Column("tenant_id", sa.String(64), nullable=False),
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("served_model", sa.Text),
        sa.Column("endpoint", sa.Text),
        sa.Column("surface", sa.String(32), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("usage_source", sa.String(16)),
        sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
        sa.Column("completion_tokens", sa.BigInteger, nullable=False),
        sa.Column("cached_tokens", sa.BigInteger, nullable=False),
        sa.Column("reasoning_tokens", sa.BigInteger, nullable=False),
        sa.Column("wasted_tokens", sa.BigInteger, nullable=False),
        sa.Column("cost", sa.Double, nullable=False),
        sa.Column("finish", sa.String(32)),
        sa.Column("status", sa.Integer),
        sa.Column("error_code", sa.String(64)),
        sa.Column("started_at", sa.Double, nullable=False),
        sa.Column("ttft_s", sa.Double),
        sa.Column("elapsed_s", sa.Double),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("hour", sa.String(25), nullable=False),
        sa.Column("gateway", sa.String(128), nullable=False),
        sa.PrimaryKeyConstraint("call_id", name="pk_usage"),
    )
    op.create_index("ix_usage_started_at", "usage", ["started_at", "call_id"])
    op.create_index("ix_usage_tenant_id_started_at", "usage", ["tenant_id", "started_at"])
    unfinished = sa.text("state = 'open'")
    op.create_index(
        "ix_usage_open", "usage", ["gateway"], sqlite_where=unfinished, postgresql_where=unfinished
    )
    op.create_table(
        "gateways",
        sa.Column("id", sa.String(128), nullable=False),
        sa.Column("seen_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_gateways"),
    )


def _operations() -> None:
    op.create_table(
        "audit",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False, autoincrement=True
        ),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("origin", sa.String(64), nullable=False),
        sa.Column("detail", sa.JSON),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
    op.create_table(
        "fleet_intents",
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("intent", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("until", sa.Double),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("endpoint", name="pk_fleet_intents"),
    )
    op.create_table(
        "counters",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("value", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_counters"),
    )
    op.create_table(
        "meta",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_meta"),
    )
    op.execute("INSERT INTO counters (name, value) VALUES ('tenants', 0), ('fleet', 0)")
