"""What is told about the calls: metrics, logs and the access log."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

Level = Literal["debug", "info", "warning", "error"]


class MetricsOptions(BaseModel, frozen=True, extra="forbid"):
    """Beyond `max_tenants` different tenants, the label says `other`."""

    tenant_label: bool = True
    max_tenants: int = Field(default=500, ge=0)


class AccessOptions(BaseModel, frozen=True, extra="forbid"):
    """`sample` is the share of successful calls written; failed ones are always written.

    `exclude` are paths never written. `text` is nginx's combined format.
    """

    enabled: bool = True
    sample: float = Field(default=1.0, ge=0, le=1)
    exclude: tuple[str, ...] = ("/health", "/ready")
    format: Literal["json", "text"] = "json"


class LoggingOptions(BaseModel, frozen=True, extra="forbid"):
    """`levels` are those of single loggers, by name."""

    level: Level = "info"
    format: Literal["json", "text"] = "json"
    levels: dict[str, Level] = {}
    access: AccessOptions = AccessOptions()
