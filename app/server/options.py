"""How the two ports listen, what they accept from a peer, and how long they wait for it."""

from __future__ import annotations

from pydantic import BaseModel, Field, IPvAnyNetwork

from app.core.units import Seconds, Size
from app.resilience.shedding import SheddingOptions
from app.server.watchdog import WatchdogOptions


class ServerOptions(BaseModel, frozen=True, extra="forbid"):
    """The data plane's port. `lame_duck` and `drain` count from the signal to stop and from its end."""

    host: str = "0.0.0.0"
    port: int = Field(default=9000, ge=0, le=65535)
    max_body: Size = Field(default=10 * 2**20, gt=0, validate_default=True)
    max_body_in_flight: Size = Field(default=128 * 2**20, gt=0, validate_default=True)
    max_header: Size = Field(default=32 * 2**10, gt=0, validate_default=True)
    max_headers: int = Field(default=100, gt=0)
    header_timeout: Seconds = Field(default=10.0, gt=0)
    body_timeout: Seconds = Field(default=30.0, gt=0)
    write_stall: Seconds = Field(default=60.0, gt=0)
    commit_after: Seconds = 5.0
    ping: Seconds = Field(default=15.0, gt=0)
    lame_duck: Seconds = 3.0
    drain: Seconds = 120.0
    trusted_proxies: tuple[IPvAnyNetwork, ...] = ()
    expose_endpoint: bool = False
    watchdog: WatchdogOptions = WatchdogOptions()
    shedding: SheddingOptions = SheddingOptions()


class OpsOptions(BaseModel, frozen=True, extra="forbid"):
    """The operators' port; `allow` is compared with the socket's peer, never with a header."""

    host: str = "127.0.0.1"
    port: int = Field(default=9001, ge=0, le=65535)
    allow: tuple[IPvAnyNetwork, ...] = Field(default=("127.0.0.1/32", "::1/128"), validate_default=True)
