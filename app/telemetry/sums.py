"""Pages of metrics added up: one page for several processes, whose counters never fall."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from operator import add
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Fold = Callable[[float, float], float]

ADDED = frozenset({"counter", "histogram", "summary"})


GAUGES: dict[str, Fold] = {
    "sluice_inflight_requests": add,
    "sluice_queued_requests": add,
    "sluice_tenant_limit_used_ratio": max,
    "sluice_endpoint_up": min,
    "sluice_endpoint_state": max,
    "sluice_endpoint_breaker_state": max,
    "sluice_endpoint_draining": max,
    "sluice_endpoint_inflight": add,
    "sluice_endpoint_concurrency_limit": add,
    "sluice_endpoint_requests_running": max,
    "sluice_endpoint_requests_waiting": max,
    "sluice_endpoint_kv_cache_usage_ratio": max,
    "sluice_ledger_pending": add,
    "sluice_journal_backlog": max,
    "sluice_store_up": min,
    "sluice_shared_limits_up": min,
    "sluice_loop_lag_seconds": max,
    "sluice_config_last_reload_successful": min,
    "sluice_build_info": max,
    "python_info": max,
    "process_virtual_memory_bytes": add,
    "process_resident_memory_bytes": add,
    "process_start_time_seconds": min,
    "process_open_fds": add,
    "process_max_fds": min,
}
"""What becomes of a gauge that several processes give: every gauge of ours has its word here. They share one
journal, and what one of them cannot reach is not up.
"""


@dataclass(slots=True)
class Family:
    """One metric: its head as it was written, and its samples by name and labels as they were written."""

    kind: str = "untyped"
    head: list[str] = field(default_factory=list)
    samples: dict[str, float] = field(default_factory=dict)


Page = dict[str, Family]


def parse(text: str) -> Page:
    """The text that prometheus_client writes, and no other: one order of labels, no times."""
    page: Page = {}
    family = Family()
    for line in text.splitlines():
        if line.startswith("# "):
            _, word, name, *rest = line.split(" ", 3)
            family = page.setdefault(name, Family())
            family.head.append(line)
            if word == "TYPE":
                family.kind = rest[0]
        elif line:
            sample, _, value = line.rpartition(" ")
            family.samples[sample] = float(value)
    return page


def folded(pages: Iterable[Page]) -> Page:
    """Counters and histograms are added, gauges as their table says."""
    whole: Page = {}
    for page in pages:
        for name, family in page.items():
            into = whole.setdefault(name, Family(family.kind, family.head))
            fold = _fold(name, family.kind)
            for sample, value in family.samples.items():
                into.samples[sample] = fold(into.samples[sample], value) if sample in into.samples else value
    return whole


def render(page: Page) -> str:
    return "".join(
        "".join(f"{line}\n" for line in family.head)
        + "".join(f"{sample} {_number(value)}\n" for sample, value in family.samples.items())
        for family in page.values()
    )


class Sums:
    """Remembers what each process counted last: what a dead one did, and one that does not answer, still counts."""

    def __init__(self) -> None:
        self._last: dict[int, Page] = {}
        self._gone: Page = {}

    def add(self, pages: Mapping[int, str], living: Iterable[int]) -> str:
        """The page of all, given those of the processes that answered, and which processes live."""
        self._last |= {name: parse(text) for name, text in pages.items()}
        alive = set(living)
        for name in self._last.keys() - alive - pages.keys():
            self._gone = folded([self._gone, _counted(self._last.pop(name))])
        silent = [_counted(page) for name, page in self._last.items() if name not in pages]
        answered = [self._last[name] for name in pages]
        return render(folded([*answered, *silent, self._gone]))


def _counted(page: Page) -> Page:
    return {name: family for name, family in page.items() if family.kind in ADDED}


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else repr(value)


def _fold(name: str, kind: str) -> Fold:
    if kind in ADDED:
        return add
    return min if name.endswith("_created") else GAUGES.get(name, max)
