"""The metrics page: what the calls counted, and what the parts say when they are asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.registry import Collector

from app.telemetry.families import counter, gauge, histogram

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from prometheus_client.core import Metric

    from app.telemetry.metrics import CallMetrics

    LimitUse = tuple[str, str, float]

_TOKENS = (
    ("prompt_tokens", "Prompt tokens, cached ones included."),
    ("completion_tokens", "Completion tokens, reasoning included."),
    ("cached_prompt_tokens", "Prompt tokens the engine had cached."),
    ("reasoning_tokens", "Completion tokens spent on reasoning."),
    ("wasted_tokens", "Completion tokens of attempts that did not end well, and all tokens of outrun ones."),
)
_STATES = ("closed", "open", "half_open")
_LIFELESS = frozenset({"down", "asleep", "paused", "stuck"})


class Balance(Protocol):
    """The ledger against an endpoint's own counters, where these were looked at."""

    @property
    def endpoint(self) -> str: ...
    @property
    def gaps(self) -> Mapping[str, int]: ...
    @property
    def overbooked(self) -> Mapping[str, int]: ...


@dataclass(frozen=True, slots=True)
class Readings:
    """Asked at each scrape; a part that is not there leaves its metrics out.

    `fleet` gives `endpoints` (rows with name, state, health, breaker, draining, inflight, limit, running,
    waiting, kv_usage; None where nothing is known) and `models` (rows with queued, by name).
    """

    fleet: Callable[[], Mapping[str, Any]] | None = None
    inflight: Callable[[], Mapping[str, int]] | None = None
    limits: Callable[[], Iterable[LimitUse]] | None = None
    ledger_pending: Callable[[], float] | None = None
    journal_backlog: Callable[[], float] | None = None
    store_up: Callable[[], bool] | None = None
    shared_limits_up: Callable[[], bool] | None = None
    loop_lag: Callable[[], float] | None = None
    reload_successful: Callable[[], bool] | None = None
    balances: Callable[[], Iterable[Balance]] | None = None


class Metrics(Collector):
    """A registry of its own with all metrics of this process; `registry` takes more collectors."""

    def __init__(
        self,
        calls: CallMetrics,
        readings: Readings,
        build: Mapping[str, str],
        refresh: Callable[[], object] = lambda: None,
    ) -> None:
        """`build` becomes the labels of build_info; `refresh` lets the calls' counts catch up."""
        self._calls = calls
        self._refresh = refresh
        self._readings = readings
        self._build = build
        self.registry = CollectorRegistry()
        self.registry.register(self)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def exposition(self) -> bytes:
        """Prometheus's text format."""
        return generate_latest(self.registry)

    def collect(self) -> Iterator[Metric]:
        self._refresh()
        yield from _counters(self._calls)
        yield from _times(self._calls)
        yield from _scalars(self._readings)
        if self._readings.limits is not None:
            use = {(tenant, limit): ratio for tenant, limit, ratio in self._readings.limits()}
            yield gauge("tenant_limit_used_ratio", "Used share of a limit.", ("tenant", "limit"), use)
        if self._readings.inflight is not None:
            by_model = {(model,): count for model, count in self._readings.inflight().items()}
            yield gauge("inflight_requests", "Calls under way.", ("model",), by_model)
        if self._readings.fleet is not None:
            yield from _fleet(self._readings.fleet())
        if self._readings.balances is not None:
            yield from _reconciled(self._readings.balances())
        build = {tuple(self._build.values()): 1.0}
        yield gauge("build_info", "This build; always 1.", tuple(self._build), build)


def _counters(calls: CallMetrics) -> Iterator[Metric]:
    endpoint = ("endpoint", "reason")
    shape = ("surface", "model", "outcome", "status_code")
    yield counter("requests", "Calls by how they ended.", shape, calls.requests)
    yield counter("attempts", "Attempts at endpoints.", ("endpoint", "outcome", "reason"), calls.attempts)
    yield counter("retries", "Attempts made again elsewhere.", ("reason",), calls.retries)
    yield counter("stream_interruptions", "Streams broken off.", endpoint, calls.interruptions)
    yield counter(
        "stream_resumes", "Streams broken off, by what followed.", ("model", "outcome"), calls.resumes
    )
    yield counter(
        "breaker_transitions", "Changes of a breaker's state.", ("endpoint", "to"), calls.breaker_transitions
    )
    yield counter("endpoint_changes", "What became of endpoints.", ("endpoint", "to"), calls.endpoint_changes)
    yield counter(
        "suspect_usage", "Answers whose stated usage cannot be true.", ("endpoint",), calls.suspect_usage
    )
    yield counter("rejected", "Calls refused before any attempt.", ("reason",), calls.rejections)
    for position, (name, text) in enumerate(_TOKENS):
        series = {labels: counts[position] for labels, counts in calls.tokens.items()}
        yield counter(name, text, ("model", "tenant"), series)


def _times(calls: CallMetrics) -> Iterator[Metric]:
    placed = ("model", "endpoint")
    yield histogram("request_duration", "From arrival to end.", ("surface", "model"), calls.duration)
    yield histogram("time_to_first_token", "From arrival to the first event.", placed, calls.first_token)
    yield histogram("time_per_output_token", "Mean of a stream, after the first.", placed, calls.output_token)
    yield histogram("queue_wait", "Waiting for room at an endpoint.", ("model",), calls.queue_wait)
    yield histogram("ledger_commit", "Making usage rows durable.", (), {(): calls.commit})


def _scalars(readings: Readings) -> Iterator[Metric]:
    for name, text, read in (
        ("ledger_pending", "Usage rows that are not durable yet.", readings.ledger_pending),
        ("journal_backlog", "Usage rows only the journal holds.", readings.journal_backlog),
        ("store_up", "Whether the database answers.", readings.store_up),
        ("shared_limits_up", "Whether Redis decides over limits.", readings.shared_limits_up),
        ("loop_lag_seconds", "Worst recent delay of the event loop.", readings.loop_lag),
        (
            "config_last_reload_successful",
            "Whether the last reload was taken.",
            readings.reload_successful,
        ),
    ):
        if read is not None:
            yield gauge(name, text, (), {(): float(read())})


def _fleet(status: Mapping[str, Any]) -> Iterator[Metric]:
    rows = status["endpoints"]
    queued = {(model,): row["queued"] for model, row in status["models"].items()}
    yield gauge("queued_requests", "Calls waiting for room.", ("model",), queued)
    states = {(row["name"], state): row["breaker"] == state for row in rows for state in _STATES}
    yield gauge("endpoint_breaker_state", "1 for the state it is in.", ("endpoint", "state"), states)
    up = {(row["name"],): row["health"] != "down" and row["state"] not in _LIFELESS for row in rows}
    yield gauge("endpoint_up", "Whether it passes its probes and is awake.", ("endpoint",), up)
    words = {(row["name"], row["state"]): True for row in rows}
    yield gauge("endpoint_state", "1 for its state in one word.", ("endpoint", "state"), words)
    for name, field, text in (
        ("draining", "draining", "Whether it takes no new calls."),
        ("inflight", "inflight", "Calls of this process."),
        ("concurrency_limit", "limit", "Calls it may have at once from this process."),
        ("requests_running", "running", "What the engine says runs, from all its callers."),
        ("requests_waiting", "waiting", "What the engine says waits."),
        ("kv_cache_usage_ratio", "kv_usage", "What the engine says of its KV cache."),
    ):
        series = {(row["name"],): row[field] for row in rows if row[field] is not None}
        yield gauge(f"endpoint_{name}", text, ("endpoint",), series)


def _reconciled(balances: Iterable[Balance]) -> Iterator[Metric]:
    kept = list(balances)
    labels = ("endpoint", "kind")
    gaps = {(balance.endpoint, kind): gap for balance in kept for kind, gap in balance.gaps.items()}
    yield gauge("reconcile_gap_tokens", "What the engine counted more than the ledger.", labels, gaps)
    over = {(balance.endpoint, kind): much for balance in kept for kind, much in balance.overbooked.items()}
    text = "What the ledger holds more than the engine can have made; 0 is right."
    yield gauge("reconcile_overbooked_tokens", text, labels, over)
