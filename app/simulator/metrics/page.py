"""The Prometheus text format, with the `_created` gauges of Python's client."""

from __future__ import annotations

from app.simulator.metrics.help import HELP
from app.simulator.metrics.histogram import Histogram

Labels = dict[str, str]


class Page:
    """A page under construction. Labels come in alphabetical order, as the client library writes them."""

    def __init__(self, created: float) -> None:
        self._lines: list[str] = []
        self._created = created

    def render(self) -> bytes:
        return ("\n".join(self._lines) + "\n").encode()

    def gauge(self, name: str, rows: list[tuple[Labels, float]], help_text: str | None = None) -> None:
        self._family(name, "gauge", help_text)
        for labels, value in rows:
            self._row(name, labels, value)

    def counter(self, name: str, rows: list[tuple[Labels, float]], *, dated: bool = True) -> None:
        """`name` with its `_total`."""
        self._family(name, "counter")
        for labels, value in rows:
            self._row(name, labels, value)
        if dated:
            self._dates(name.removesuffix("_total"), HELP.get(name, ""), [labels for labels, _ in rows])

    def summary(self, name: str, rows: list[tuple[Labels, tuple[int, int]]]) -> None:
        """Rows of number and sum."""
        self._family(name, "summary")
        for labels, (count, total) in rows:
            self._row(f"{name}_count", labels, count)
            self._row(f"{name}_sum", labels, total)
        self._dates(name, HELP.get(name, ""), [labels for labels, _ in rows])

    def histogram(self, name: str, rows: list[tuple[Labels, Histogram]]) -> None:
        self._family(name, "histogram")
        for labels, histogram in rows:
            for bound, count in histogram.cumulative():
                self._row(f"{name}_bucket", {**labels, "le": bound}, count)
            self._row(f"{name}_count", labels, histogram.count)
            self._row(f"{name}_sum", labels, histogram.total)
        self._dates(name, HELP.get(name, ""), [labels for labels, _ in rows])

    def _family(self, name: str, kind: str, help_text: str | None = None) -> None:
        self._lines += [
            f"# HELP {name} {HELP.get(name, '') if help_text is None else help_text}",
            f"# TYPE {name} {kind}",
        ]

    def _dates(self, stem: str, help_text: str, rows: list[Labels]) -> None:
        self.gauge(f"{stem}_created", [(labels, self._created) for labels in rows], help_text)

    def _row(self, name: str, labels: Labels, value: float) -> None:
        inside = ",".join(f'{key}="{labels[key]}"' for key in sorted(labels))
        self._lines.append(f"{name}{{{inside}}} {float(value)!r}" if inside else f"{name} {float(value)!r}")
