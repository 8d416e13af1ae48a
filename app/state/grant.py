"""What one call holds, and where it is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.core.tenant import Decision
    from app.state.account import Account
    from app.state.rule import Rule, Windows


class Accounts(Struct, eq=False):
    """Where rules count in the periods of one moment, in the rules' order; of these the tokens and the places."""

    rules: Sequence[Rule]
    windows: Windows
    each: list[tuple[Rule, Account]]
    tokens: list[tuple[Rule, Account]]
    places: list[Account]


class Grant(Struct, eq=False):
    """What one call holds. `decisions` stand in the order of the rules; refused: nothing is held."""

    allowed: bool
    decisions: list[Decision]
    tokens: int
    accounts: Accounts | None
