"""Indexes over a part of a table, for whoever changes or compares the schema.

Each dialect has its own word for the condition, and SQLAlchemy loads a dialect to ask it for its words.
"""

from __future__ import annotations

from sqlalchemy import Index

from app.store.tables import living, metadata, tenants, unfinished, usage

__all__ = ["metadata"]

Index("uq_tenants_living_name", tenants.c.name, unique=True, sqlite_where=living, postgresql_where=living)
Index("ix_usage_open", usage.c.gateway, sqlite_where=unfinished, postgresql_where=unfinished)
