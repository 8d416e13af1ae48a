"""sluice check: whether the configuration holds, and whether the endpoints are what it claims."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from app.cli.failure import Failed, say
from app.cli.inspection import Inspection, Inspector
from app.cli.options import config_option, json_option, yes_open_option
from app.cli.tables import show
from app.core.clock import SystemClock
from app.settings import Settings, fleet_plan, load
from app.upstream.control import ControlPlane

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from app.cli.tables import Columns
    from app.upstream.plan import FleetPlan


@click.command()
@click.option("--offline", is_flag=True, help="Look at the configuration alone.")
@yes_open_option
@config_option
@json_option
def check(config: Path | None, as_json: bool, offline: bool, yes_open: bool) -> None:
    """Validate the configuration; then ask every endpoint whether it is there and serves its models.

    KV cache: how many calls of the full context length fit in it, beside how many we would send.

    Example: sluice check --config sluice.yaml
    """
    settings = load(config, yes_open=yes_open)
    plan = fleet_plan(settings)
    say(f"the configuration is valid: {len(plan.endpoints)} endpoints, {len(settings.models)} models")
    if offline:
        return
    found = asyncio.run(_inspect(settings, plan))
    rows = [asdict(each) | {"verdict": "failed" if each.problem else "ok"} for each in found]
    show(rows, COLUMNS, as_json=as_json, none="The configuration names no endpoints.")
    for name in _unserved(settings, plan, found):
        say(f"no endpoint serves the model {name}")
    failed = [each for each in found if each.problem]
    if failed:
        raise Failed("\n".join(f"{each.endpoint}: {each.problem}" for each in failed))


async def _inspect(settings: Settings, plan: FleetPlan) -> list[Inspection]:
    clock = SystemClock()
    control = ControlPlane(clock)
    inspector = Inspector(control, clock, settings.health.timeout)
    try:
        return await asyncio.gather(
            *(
                inspector.inspect(
                    spec,
                    mapped(plan, spec.name),
                    plan.resilience_for(None, spec.name).bulkhead.max_concurrent_calls,
                )
                for spec in plan.endpoints
            )
        )
    finally:
        await control.aclose()


def mapped(plan: FleetPlan, endpoint: str) -> list[str]:
    """Served names of the models that its row lists or that prefer it."""
    (spec,) = (spec for spec in plan.endpoints if spec.name == endpoint)
    served = dict(spec.models or {})
    preferring = (name for name, routing in plan.models.items() if endpoint in routing.preferred_endpoints)
    return sorted({*served.values(), *(served.get(name, name) for name in preferring)})


def _unserved(settings: Settings, plan: FleetPlan, found: list[Inspection]) -> list[str]:
    """Configured models that nobody lists, as far as every endpoint said what it lists."""
    if any(each.models is None for each in found):
        return []
    public = {name for spec in plan.endpoints for name in spec.models or ()}
    learnt = {
        name
        for spec, each in zip(plan.endpoints, found, strict=True)
        if spec.models is None
        for name in each.models or ()
    }
    return sorted(settings.models.keys() - public - learnt)


def _said(value: bool | None, good: str, bad: str) -> str:
    return "" if value is None else good if value else bad


def _served(row: Mapping[str, Any]) -> str:
    if row["missing"]:
        return f"{', '.join(row['models'])} (missing: {', '.join(row['missing'])})"
    return ", ".join(row["models"] or ())


COLUMNS: Columns = {
    "endpoint": lambda row: row["endpoint"],
    "url": lambda row: row["url"],
    "address": lambda row: _said(row["reachable"], "reachable", "unreachable"),
    "port": lambda row: _said(row["port_open"], "open", "closed"),
    "health": lambda row: _said(row["healthy"], "ok", "failed"),
    "models": _served,
    "latency": lambda row: "" if row["latency"] is None else f"{row['latency'] * 1000:.0f} ms",
    "our calls": lambda row: row["ours"],
    "KV cache": lambda row: "" if row["theirs"] is None else f"{row['theirs']:.1f}",
    "verdict": lambda row: row["verdict"],
}
