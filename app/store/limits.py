"""Limits as they are stored and as they are changed: absent stays, None lifts."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any

from app.core.tenant import UNLIMITED, Limits

if TYPE_CHECKING:
    from collections.abc import Mapping


_NAMES = frozenset(each.name for each in fields(Limits))


def limits_from(document: Mapping[str, Any] | None) -> Limits:
    """What a later release has written besides is left alone."""
    if not document:
        return UNLIMITED
    return Limits(**{name: value for name, value in document.items() if name in _NAMES})


def limits_to(limits: Limits, *, strict: bool = False) -> dict[str, Any] | None:
    """None when nothing is limited, nor strict."""
    document: dict[str, Any] = {name: value for name, value in asdict(limits).items() if value is not None}
    if strict:
        document["strict"] = True
    return document or None


def strict_in(document: Mapping[str, Any] | None) -> bool:
    """Whether a tenant's limits are strict: kept with them, since it says how they count."""
    return bool(document and document.get("strict"))


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
