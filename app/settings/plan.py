"""The settings in the words of the parts that use them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.gateway.catalog import Model
from app.upstream.plan import FleetPlan, ModelRouting

if TYPE_CHECKING:
    from app.settings.tree import Settings
    from app.tenancy.pricing import Price


def fleet_plan(settings: Settings) -> FleetPlan:
    """What the fleet should be."""
    return FleetPlan(
        endpoints=tuple(row.spec() for row in settings.endpoints),
        resilience=settings.resilience,
        endpoint_overrides={row.name: overlay for row in settings.endpoints if (overlay := row.overlay())},
        model_overrides={
            name: sections for name, model in settings.models.items() if (sections := model.sections())
        },
        models={
            name: ModelRouting(model.preferred_endpoints, model.strict_preferred)
            for name, model in settings.models.items()
        },
        strategy=settings.routing.strategy,
        spill=settings.routing.spill,
    )


def offered(settings: Settings) -> dict[str, Model]:
    """What the catalog knows of each configured model."""
    return {
        name: Model(
            name,
            aliases=model.aliases,
            fallbacks=model.fallbacks,
            defaults=model.defaults,
            accounting=model.accounting,
            json_upstream=model.json_upstream,
            resume=model.resume,
        )
        for name, model in settings.models.items()
    }


def prices(settings: Settings) -> dict[str, Price]:
    """What a million tokens of each model cost, where that was said."""
    return {name: model.price for name, model in settings.models.items() if model.price is not None}
