"""An endpoint: one vLLM server, as configured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Tls:
    """Paths of PEM files; `verify` False accepts any certificate."""

    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    verify: bool = True


@dataclass(frozen=True, slots=True)
class EndpointSpec:
    """`url` is scheme://host:port without a path; `models` maps public to served names, None = learnt.

    `weight` 0 takes no traffic. A lower `tier` is preferred.
    """

    name: str
    url: str
    models: Mapping[str, str] | None = None
    weight: int = 1
    tier: int = 0
    role: Literal["any", "prefill", "decode"] = "any"
    api_key: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    tls: Tls | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def address(self) -> tuple[str, int]:
        """Host without brackets, and port."""
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)

    @property
    def secure(self) -> bool:
        return self.url.startswith("https:")
