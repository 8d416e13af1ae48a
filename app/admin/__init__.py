"""The operators' edge: tenants, keys, usage, the fleet and running calls over REST, behind tokens."""

from __future__ import annotations

from app.admin.router import admin_router

__all__ = ["admin_router"]
