"""One tree of settings, from defaults, a file, the environment and flags; wrong ones are refused plainly."""

from __future__ import annotations

from app.settings.load import load
from app.settings.plan import fleet_plan, offered, prices
from app.settings.problems import ConfigError, Problem
from app.settings.tree import Settings
from app.settings.view import Change, diff, masked, schema

__all__ = [
    "Change", "ConfigError", "Problem", "Settings", "diff", "fleet_plan", "load", "masked", "offered", "prices",
    "schema",
]  # fmt: skip
