"""The resilience section: every mechanism's options, and how nearer ones are laid over farther ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from app.core.units import Seconds
from app.resilience.adaptive import AdaptiveOptions
from app.resilience.breaker import BreakerOptions
from app.resilience.bulkhead import BulkheadOptions
from app.resilience.deadline import TimeoutOptions
from app.resilience.ejection import EjectionOptions
from app.resilience.fuse import FuseOptions
from app.resilience.hedge import HedgeOptions
from app.resilience.retry import RetryOptions

Options = TypeVar("Options", bound=BaseModel)


class QueueOptions(BaseModel):
    """The waiting room of a pool: seconds in it, and calls.

    `overload_wait`: seconds that whoever comes may have to expect once the queue has been standing for
    `max_wait`. `tenant_share`: percent of a pool's places that one tenant may hold at a time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True)

    max_wait: Seconds = Field(default=10.0, validation_alias=AliasChoices("max_wait", "max_wait_duration"))
    max_length: int = Field(default=1024, ge=0)
    overload_wait: Seconds = 0.1
    tenant_share: int = Field(default=100, ge=1, le=100)


class Resilience(BaseModel):
    """Options of all mechanisms, for the whole gateway or resolved for one model and endpoint."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    timeouts: TimeoutOptions = TimeoutOptions()
    breaker: BreakerOptions = BreakerOptions()
    bulkhead: BulkheadOptions = BulkheadOptions()
    queue: QueueOptions = QueueOptions()
    ejection: EjectionOptions = EjectionOptions()
    retry: RetryOptions = RetryOptions()
    hedge: HedgeOptions = HedgeOptions()
    fuse: FuseOptions = FuseOptions()
    adaptive: AdaptiveOptions = AdaptiveOptions()

    def overlaid(self, *overrides: Mapping[str, Any]) -> Self:
        """A copy with the fields of each override in place, the last one winning.

        Raises pydantic.ValidationError for an override that would not be valid by itself.
        """
        merged = self
        for override in overrides:
            if override:
                merged = _laid_over(merged, type(self).model_validate(override))
        return merged


def _laid_over(below: Options, above: Options) -> Options:
    """`below` with every field that was written in `above`."""
    update: dict[str, Any] = {}
    for name in above.model_fields_set:
        value = getattr(above, name)
        update[name] = _laid_over(getattr(below, name), value) if isinstance(value, BaseModel) else value
    return below.model_copy(update=update)
