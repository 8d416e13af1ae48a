"""Builds a house from settings: the only place where concrete classes meet."""

from __future__ import annotations

from app.wiring.build import build
from app.wiring.house import House

__all__ = ["House", "build"]
