"""One request on its way through a route."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import msgspec

from app.simulator.api.fields import read_object
from app.simulator.faults.fault import Fault
from app.simulator.http.exchange import Exchange
from app.simulator.http.head import Pairs
from app.simulator.http.request import Request
from app.simulator.instance import Instance
from app.simulator.truth import Record


@dataclass(slots=True)
class Call:
    """What a route gets: the exchange to answer on, the instance behind it, the record to keep, the fault to obey."""

    exchange: Exchange
    instance: Instance
    record: Record
    fault: Fault | None = None

    @property
    def request(self) -> Request:
        return self.exchange.request

    def body(self) -> dict[str, Any]:
        """The request's JSON object. Raises the refusal for anything else."""
        body = read_object(self.request)
        model = body.get("model")
        self.record.model = model if isinstance(model, str) else None
        return body

    def json(self, body: Any, status: int = 200, pairs: Pairs = ()) -> None:
        """Answer with compact JSON."""
        self.text(msgspec.json.encode(body), "application/json", status, pairs)

    def text(self, body: bytes, content_type: str, status: int = 200, pairs: Pairs = ()) -> None:
        """Answer with a body of any type."""
        self.record.status = status
        self.exchange.respond(status, body, (*pairs, ("content-type", content_type)))

    def empty(self, status: int = 200) -> None:
        """Answer without body and content type."""
        self.record.status = status
        self.exchange.respond(status, b"", (("content-length", "0"),))

    def load_header(self) -> Pairs:
        """The `endpoint-load-metrics` header of JSON answers, for callers that ask for one."""
        wanted = (self.request.header("endpoint-load-metrics-format") or "").upper()
        if wanted not in ("TEXT", "JSON"):
            return ()
        engines = self.instance.engines
        named = {
            "num_requests_waiting": float(sum(len(engine.waiting) for engine in engines)),
            "kv_cache_usage_perc": max(engine.blocks.usage for engine in engines),
        }
        if wanted == "JSON":
            return (("endpoint-load-metrics", f"JSON {json.dumps({'named_metrics': named})}"),)
        pairs = ", ".join(f"named_metrics.{name}={value}" for name, value in named.items())
        return (("endpoint-load-metrics", f"TEXT {pairs}"),)
