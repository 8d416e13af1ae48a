"""What is told about the calls: metrics, logs and the access log, as telemetry knows them."""

from __future__ import annotations

from app.telemetry.options import AccessOptions, LoggingOptions, MetricsOptions

__all__ = ["AccessOptions", "LoggingOptions", "MetricsOptions"]
