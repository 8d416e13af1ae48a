"""What a gateway keeps its ledger and its limits in, where it is not an empty SQLite file."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.scenarios import Variant


class Absent(Exception):
    """This machine has not got what a scenario needs; the message says what."""


def provided(variant: Variant, folder: Path, rows: int, stack: ExitStack) -> Mapping[str, Any]:
    """The variant's settings, and those that name what was started for it; raises Absent."""
    return variant.settings
