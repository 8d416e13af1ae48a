"""Resilience that differs for one model or one endpoint: any section, any of its keys."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field

from app.resilience.options import Resilience
from app.settings.shape import Partial


class Overrides(BaseModel, frozen=True):
    """What is left out comes from the level above; values are judged together with it."""

    timeouts: Annotated[dict[str, Any], Partial(Resilience.model_fields["timeouts"].annotation)] = Field(
        default_factory=dict
    )
    breaker: Annotated[dict[str, Any], Partial(Resilience.model_fields["breaker"].annotation)] = Field(
        default_factory=dict
    )
    bulkhead: Annotated[dict[str, Any], Partial(Resilience.model_fields["bulkhead"].annotation)] = Field(
        default_factory=dict
    )
    queue: Annotated[dict[str, Any], Partial(Resilience.model_fields["queue"].annotation)] = Field(
        default_factory=dict
    )
    ejection: Annotated[dict[str, Any], Partial(Resilience.model_fields["ejection"].annotation)] = Field(
        default_factory=dict
    )
    retry: Annotated[dict[str, Any], Partial(Resilience.model_fields["retry"].annotation)] = Field(
        default_factory=dict
    )
    hedge: Annotated[dict[str, Any], Partial(Resilience.model_fields["hedge"].annotation)] = Field(
        default_factory=dict
    )
    fuse: Annotated[dict[str, Any], Partial(Resilience.model_fields["fuse"].annotation)] = Field(
        default_factory=dict
    )
    adaptive: Annotated[dict[str, Any], Partial(Resilience.model_fields["adaptive"].annotation)] = Field(
        default_factory=dict
    )

    def sections(self) -> dict[str, Any]:
        """The sections that say anything."""
        return {name: getattr(self, name) for name in Overrides.model_fields if getattr(self, name)}
