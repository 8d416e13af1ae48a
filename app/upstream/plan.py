"""What a fleet should be: endpoints, models and the mechanisms' options, resolved to the nearest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.core.endpoint import EndpointSpec
    from app.resilience.options import Resilience

Spill = Literal["down", "full"]


@dataclass(frozen=True, slots=True)
class ModelRouting:
    """Which endpoints a model prefers; strict: it uses no others."""

    preferred_endpoints: tuple[str, ...] = ()
    strict_preferred: bool = False


DEFAULT_ROUTING = ModelRouting()


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """One wish, replaced as a whole by a reload.

    The overrides are partial `resilience` sections by endpoint and by model name. `models` are the
    configured ones. `spill`: a tier is left when all of it is down, or already when it is full.
    """

    endpoints: tuple[EndpointSpec, ...]
    resilience: Resilience
    endpoint_overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    model_overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    models: Mapping[str, ModelRouting] = field(default_factory=dict)
    strategy: str = "least_load"
    spill: Spill = "full"
    _resolved: dict[tuple[str | None, str | None], Resilience] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def resilience_for(self, model: str | None, endpoint: str | None) -> Resilience:
        """The default, overlaid by the model's, overlaid by the endpoint's; None leaves that one out."""
        resolved = self._resolved.get((model, endpoint))
        if resolved is None:
            of_model = self.model_overrides.get(model, {}) if model is not None else {}
            of_endpoint = self.endpoint_overrides.get(endpoint, {}) if endpoint is not None else {}
            resolved = self.resilience.overlaid(of_model, of_endpoint)
            self._resolved[model, endpoint] = resolved
        return resolved
