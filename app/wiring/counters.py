"""Where the limits are counted: in this process, or in Redis for all gateways."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.settings import ConfigError, Problem

if TYPE_CHECKING:
    from app.core.clock import Clock
    from app.settings import Settings
    from app.state.redis import RedisCounters


def open_shared(settings: Settings, clock: Clock, gateway: str) -> RedisCounters | None:
    """None: this process counts alone. `gateway` names it and no other. Raises ConfigError."""
    if settings.redis_url is None:
        return None
    try:
        from app.state.redis import RedisCounters
    except ImportError:
        need = "needs the package redis: pip install 'sluice-gateway[redis]'"
        raise ConfigError([Problem("redis_url", need)]) from None
    try:
        return RedisCounters(settings.redis_url.get_secret_value(), gateway, clock)
    except ValueError:
        raise ConfigError([Problem("redis_url", "is no URL of a Redis server")]) from None
