"""Metrics as Prometheus knows them, from series by their label values; sorted, so that pages compare."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from app.telemetry.histogram import Histogram

Labels = TypeVar("Labels", bound="tuple[str, ...]")


def counter(
    name: str, text: str, labels: Sequence[str], series: Mapping[Labels, float]
) -> CounterMetricFamily:
    """Named `sluice_…_total` on the page."""
    family = CounterMetricFamily(f"sluice_{name}", text, labels=labels)
    for values, count in sorted(series.items()):
        family.add_metric(values, count)
    return family


def gauge(name: str, text: str, labels: Sequence[str], series: Mapping[Labels, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"sluice_{name}", text, labels=labels)
    for values, value in sorted(series.items()):
        family.add_metric(values, float(value))
    return family


def histogram(
    name: str, text: str, labels: Sequence[str], series: Mapping[Labels, Histogram]
) -> HistogramMetricFamily:
    """Named `sluice_…_seconds` on the page."""
    family = HistogramMetricFamily(f"sluice_{name}_seconds", text, labels=labels)
    for values, histogram in sorted(series.items()):
        family.add_metric(values, histogram.cumulative(), histogram.sum)
    return family
