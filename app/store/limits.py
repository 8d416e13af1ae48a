"""Limits as they are stored and as they are changed: absent stays, None lifts."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from app.core.tenant import UNLIMITED, Limits

if TYPE_CHECKING:
    from collections.abc import Mapping


def limits_from(document: Mapping[str, int] | None) -> Limits:
    return Limits(**document) if document else UNLIMITED


def limits_to(limits: Limits) -> dict[str, int] | None:
    """None when nothing is limited."""
    return {name: value for name, value in asdict(limits).items() if value is not None} or None


def patched(limits: Limits, changes: Limits | Mapping[str, Any] | None) -> Limits:
    """A whole Limits replaces; a mapping changes what it names; None lifts every limit."""
    if changes is None:
        return UNLIMITED
    return changes if isinstance(changes, Limits) else replace(limits, **changes)


def patched_by_model(
    limits: Mapping[str, Limits], changes: Mapping[str, Limits | Mapping[str, Any] | None] | None
) -> dict[str, Limits]:
    """None for a model, or for all, lifts its limits."""
    if changes is None:
        return {}
    merged = dict(limits)
    merged |= {model: patched(merged.get(model, UNLIMITED), each) for model, each in changes.items()}
    return {model: each for model, each in merged.items() if each != UNLIMITED}
