"""What is measured: one row each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Variant:
    """A gateway to measure: settings over the usual ones, and what it stands among.

    `rows`: whether its ledger is filled before; `needs`: a server it is given, postgresql or redis.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    endpoints: int = 2
    tenants: int = 1
    rows: bool = False
    needs: str | None = None


GATEWAY = {"gateway": Variant()}
REFERENCES = ("relay", "nginx")


@dataclass(frozen=True)
class Scenario:
    """A load, and whom it is put on in turn. `interval` in seconds, `body` in bytes.

    Among several gateways the first is what the others are compared with.
    """

    name: str
    title: str
    connections: int
    stream: bool = False
    tokens: int = 128
    interval: float = 0.0
    step: bool = False
    body: int = 1024
    wrk: bool = False
    gateways: Mapping[str, Variant] = field(default_factory=lambda: GATEWAY)
    references: tuple[str, ...] = REFERENCES

    @property
    def unit(self) -> str:
        return "event" if self.stream else "request"

    @property
    def stamped(self) -> bool:
        """The age of events means something only where the upstream waits between them."""
        return self.stream and self.interval > 0


def _json(connections: int, body: int = 1024, name: str = "") -> Scenario:
    size = f"{body >> 20} MB" if body >> 20 else f"{body >> 10} KB"
    title = f"JSON, {connections} in flight, {size}"
    return Scenario(name or f"json-{connections}", title, connections, body=body)


def _paced(streams: int, interval: float = 0.02, **fields: Any) -> Scenario:
    """Streams of 128 events."""
    usual = {"name": f"sse-{streams}", "title": f"SSE, {streams:,} streams, {interval * 1000:g} ms"}
    return Scenario(**{**usual, "connections": streams, "stream": True, "interval": interval, **fields})


def _compared(name: str, title: str, gateways: Mapping[str, Variant]) -> Scenario:
    return Scenario(name, title, 64, gateways=gateways, references=())


def _exact(accounting: str) -> Variant:
    return Variant({"model_config": {"qwen3-8b": {"accounting": accounting}}})


def _access(enabled: bool) -> Variant:
    return Variant({"logging": {"access": {"enabled": enabled}}})


SCENARIOS = [
    *(_json(connections) for connections in (1, 32, 64, 256, 512)),
    Scenario("wrk-64", "JSON, 64 in flight, by wrk", 64, wrk=True),
    _json(8, 1024, "body-1k"),
    _json(8, 32 * 1024, "body-32k"),
    _json(8, 1024 * 1024, "body-1m"),
    Scenario("sse-flood", "SSE, 64 streams, back to back", 64, stream=True, tokens=512),
    _paced(64),
    _paced(512),
    _paced(2048, 0.08, name="sse-2048"),
    _paced(2048, name="sse-2048-fast"),
    _paced(512, step=True, name="sse-step", title="SSE, 512 streams, all at once every 20 ms"),
    _paced(
        512,
        name="accounting",
        title="SSE, 512 streams, 20 ms",
        gateways={"final": _exact("final"), "exact": _exact("exact")},
        references=("nginx",),
    ),
    _paced(
        64,
        0.008,
        name="first-token",
        title="SSE, 64 streams of 32 events, 8 ms",
        tokens=32,
        references=("direct", *REFERENCES),
    ),
    _compared(
        "endpoints", "JSON, 64 in flight", {f"{n} endpoints": Variant(endpoints=n) for n in (10, 100)}
    ),
    _compared("tenants", "JSON, 64 in flight", {f"{n:,} tenants": Variant(tenants=n) for n in (32, 3200)}),
    _compared("ledger", "JSON, 64 in flight", {"empty ledger": Variant(), "filled": Variant(rows=True)}),
    _compared("access-log", "JSON, 64 in flight", {"off": _access(False), "on": _access(True)}),
    _compared("postgresql", "JSON, 64 in flight", {"SQLite": Variant(), "PostgreSQL": Variant(needs="postgresql")}),
    _paced(
        512,
        name="postgresql-sse",
        title="SSE, 512 streams, 20 ms",
        gateways={"SQLite": Variant(), "PostgreSQL": Variant(needs="postgresql")},
        references=("nginx",),
    ),
    _compared("redis", "JSON, 64 in flight", {"own limits": Variant(), "Redis": Variant(needs="redis")}),
]  # fmt: skip
