"""Why a store cannot be used as it is, said to the operator."""

from __future__ import annotations


class StoreRefusal(Exception):
    """The message is one plain sentence with the remedy; it holds no secret and no password."""
