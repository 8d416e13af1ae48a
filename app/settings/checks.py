"""What no single key can know: names that must agree with other names, and combinations that are unsafe."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import ValidationError

from app.settings.problems import Problem, dotted, nearest, of_validation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from app.settings.endpoints import EndpointOptions
    from app.settings.overrides import Overrides
    from app.settings.tree import Settings


def problems(settings: Settings, *, yes_open: bool, workers: int = 1) -> Iterator[Problem]:
    """Everything that keeps this configuration from being used; `yes_open` allows open mode off loopback."""
    if workers > 1 and settings.redis_url is None:
        why = "needs Redis, which shares limits between workers: set redis_url, or start one worker"
        yield Problem(f"--workers {workers}", why)
    yield from _endpoint_names(settings)
    yield from _overrides(settings)
    yield from _preferences(settings)
    yield from _aliases(settings)
    yield from _fallbacks(settings)
    yield from _access(settings, yes_open=yes_open)
    yield from _storage(settings)
    yield from _timezone(settings)
    if settings.server.port == settings.ops.port != 0:
        yield Problem("ops.port", f"is {settings.ops.port}, which server.port has already")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a listener on `host`."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _rows(settings: Settings) -> Iterator[tuple[tuple[str | int, ...], EndpointOptions]]:
    own = len(settings.vllm_endpoints)
    for index, row in enumerate(settings.endpoints):
        yield ("vllm_endpoints", index) if index < own else ("vllm", "instances", index - own), row


def _endpoint_names(settings: Settings) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for path, row in _rows(settings):
        place = dotted((*path, "name"))
        if row.name in first:
            yield Problem(place, f"{row.name!r} is taken by {first[row.name]}; names are unique")
        first.setdefault(row.name, place)


def _overrides(settings: Settings) -> Iterator[Problem]:
    for path, row in _rows(settings):
        yield from _overlaid(settings, row, row.overlay(), path)
    for name, model in settings.models.items():
        yield from _overlaid(settings, model, model.sections(), ("model_config", name))


def _overlaid(
    settings: Settings, row: Overrides, overlay: dict[str, object], path: tuple[str | int, ...]
) -> Iterator[Problem]:
    try:
        settings.resilience.overlaid(overlay)
    except ValidationError as error:
        for inner, message in of_validation(error):
            direct = bool(inner) and inner[0] in row.sections()
            yield Problem(dotted((*path, *(() if direct else ("resilience",)), *inner)), message)


def _preferences(settings: Settings) -> Iterator[Problem]:
    known = {row.name for row in settings.endpoints}
    for name, model in settings.models.items():
        for index, endpoint in enumerate(model.preferred_endpoints):
            if endpoint not in known:
                path = dotted(("model_config", name, "preferred_endpoints", index))
                yield Problem(path, f"there is no endpoint {endpoint!r}" + nearest(endpoint, known))


def _served(settings: Settings) -> set[str]:
    return {name for row in settings.endpoints for name in row.models or ()}


def _aliases(settings: Settings) -> Iterator[Problem]:
    first: dict[str, str] = {}
    served = _served(settings)
    for name, model in settings.models.items():
        for index, alias in enumerate(model.aliases):
            path = dotted(("model_config", name, "aliases", index))
            if alias in settings.models or alias in served:
                yield Problem(path, f"{alias!r} is a model of its own")
            elif alias in first:
                yield Problem(path, f"{alias!r} is already {first[alias]}")
            first.setdefault(alias, path)


def _fallbacks(settings: Settings) -> Iterator[Problem]:
    known = _served(settings) | settings.models.keys()
    for name, model in settings.models.items():
        for index, fallback in enumerate(model.fallbacks):
            path = dotted(("model_config", name, "fallbacks", index))
            if fallback == name:
                yield Problem(path, "a model cannot stand in for itself")
            elif fallback not in known:
                yield Problem(
                    path,
                    f"there is no model {fallback!r} in model_config or in an endpoint's models"
                    + nearest(fallback, known),
                )


def _access(settings: Settings, *, yes_open: bool) -> Iterator[Problem]:
    if settings.auth.mode == "open" and not (yes_open or is_loopback(settings.server.host)):
        yield Problem(
            "auth.mode", f"'open' on {settings.server.host} serves anybody; say --yes-open if you mean it"
        )
    names: set[str] = {"root"}
    for index, token in enumerate(settings.admin.tokens):
        if token.name in names:
            why = "is the name of SLUICE_ADMIN_TOKEN" if token.name == "root" else "is given twice"
            yield Problem(f"admin.tokens[{index}].name", f"{token.name!r} {why}")
        names.add(token.name)
    values = [token.token.get_secret_value() for token in settings.admin_tokens]
    if len(set(values)) < len(values):
        yield Problem("admin.tokens", "two tokens are the same")


def _timezone(settings: Settings) -> Iterator[Problem]:
    try:
        ZoneInfo(settings.ledger.timezone)
    except (ZoneInfoNotFoundError, ValueError):
        if settings.ledger.timezone != "UTC":
            yield Problem(
                "ledger.timezone", "this machine knows no such time zone; write it as Europe/Berlin"
            )


def _storage(settings: Settings) -> Iterator[Problem]:
    if settings.secret is None and settings.database_url.get_secret_value().startswith("postgresql:"):
        yield Problem("secret", "PostgreSQL needs SLUICE_SECRET; make one with: openssl rand -hex 32")
    if settings.secret_previous is not None and settings.secret is None:
        yield Problem("secret_previous", "is of no use without SLUICE_SECRET")
