"""What happens to every request before its route: truth, faults, key, route, and the refusals of all of them."""

from __future__ import annotations

import json
import re
from typing import Any
from uuid import uuid4

from app.simulator.admin import Admin
from app.simulator.api.call import Call
from app.simulator.api.errors import Refusal, detail
from app.simulator.api.routes import Route, find, routes
from app.simulator.faults.answers import answer_instead
from app.simulator.faults.edits import edit_for
from app.simulator.faults.fault import Fault, parse
from app.simulator.faults.outlets import Coalesced, Dripping, fragments, head_only, inside_characters
from app.simulator.faults.registry import inference
from app.simulator.http.exchange import Exchange
from app.simulator.http.head import Pairs
from app.simulator.http.request import Request
from app.simulator.instance import Instance
from app.simulator.truth import Record

_GUARDED = ("/v1", "/v2", "/inference", "/cohere")
_BEARER = re.compile(r"bearer (.*)", re.IGNORECASE | re.DOTALL)
_JSON = (("content-type", "application/json"),)
_PREFLIGHT = (
    (
        "vary",
        "Origin, Access-Control-Request-Method, Access-Control-Request-Headers, Access-Control-Request-Private-Network",
    ),
    ("access-control-allow-methods", "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, QUERY"),
    ("access-control-max-age", "600"),
    ("content-length", "0"),
    ("content-type", "text/plain; charset=utf-8"),
)


class Front:
    """Answers every exchange, in the order in which vLLM's middleware looks at it."""

    def __init__(self, instance: Instance, admin: Admin) -> None:
        self._instance = instance
        self._admin = admin
        self._routes = routes(instance.options)

    def handle(self, exchange: Exchange) -> None:
        request, path = exchange.request, exchange.request.path
        if path.startswith("/sim/"):
            self._admin.handle(exchange)
            return
        truth = self._instance.truth
        truth.counters.requests += 1
        now = self._instance.now()
        asks = inference(path)
        record = truth.open(request, now) if asks else Record(0, path, request.header("x-request-id"), now)
        exchange.common = self._common(request)
        self._watch(exchange, record, now, asks=asks)
        try:
            fault = self._fault(request, path)
            call = Call(exchange, self._instance, record, fault)
            if fault is not None:
                truth.counters.faults += 1
                record.fault = fault.fault
                self._obey(call, fault)
            else:
                self._route(call)
        except Refusal as refusal:
            record.status = refusal.status
            exchange.respond(refusal.status, refusal.body, _JSON)

    def _common(self, request: Request) -> Pairs:
        """`vary` of the CORS middleware, and the id where the server was told to send it."""
        if not self._instance.options.request_id_headers:
            return (("vary", "Origin"),)
        return (("vary", "Origin"), ("x-request-id", request.header("x-request-id") or uuid4().hex))

    def _watch(self, exchange: Exchange, record: Record, now: float, *, asks: bool) -> None:
        instance, request = self._instance, exchange.request

        def gone() -> None:
            record.aborted = instance.now()
            instance.truth.counters.aborts += asks

        def end() -> None:
            record.status = exchange.status
            record.ended = record.ended or instance.now()
            route = find(self._routes, request.path)
            name = route.name if route is not None and request.method in route.handlers else "none"
            seconds = instance.now() - now
            instance.traffic.add(
                name, request.method, exchange.status, len(request.body), exchange.sent, seconds
            )

        exchange.on_gone = gone
        exchange.on_end = end

    def _fault(self, request: Request, path: str) -> Fault | None:
        header = request.header("x-sim-fault")
        body: dict[str, Any] = {}
        faults = self._instance.faults
        if b'"sim_fault"' in request.body or faults:
            try:
                found = json.loads(request.body or b"{}")
                body = found if isinstance(found, dict) else {}
            except (ValueError, RecursionError):
                body = {}
        own = header or body.get("sim_fault")
        if own:
            try:
                return parse(own)
            except ValueError as error:
                raise detail(400, f"sim_fault: {error}") from None
        model = body.get("model") if isinstance(body.get("model"), str) else None
        identity = request.header("x-request-id")
        return faults.meet(path, model=model, request_id=identity, stream=bool(body.get("stream")))

    def _obey(self, call: Call, fault: Fault) -> None:
        if answer_instead(call, fault):
            return
        exchange, line = call.exchange, call.exchange.line
        exchange.edit = edit_for(fault)
        match fault.fault:
            case "coalesce":
                exchange.outlet = Coalesced(line, fault.size)
            case "fragment":
                exchange.outlet = Dripping(line, fragments(fault.size), fault.delay)
            case "split_utf8":
                exchange.outlet = Dripping(line, inside_characters, fault.delay)
            case "slow_head":
                exchange.outlet = Dripping(line, head_only, fault.delay)
            case "no_end":
                exchange.withholds_end = True
            case "close_after":
                exchange.closes_quietly = True
            case "delay":
                line.loop.call_later(fault.delay, self._late, call)
                return
        self._route(call)

    def _late(self, call: Call) -> None:
        if call.exchange.over:
            return
        try:
            self._route(call)
        except Refusal as refusal:
            call.exchange.respond(refusal.status, refusal.body, _JSON)

    def _route(self, call: Call) -> None:
        request, exchange = call.request, call.exchange
        path = request.path
        if request.method == "OPTIONS" and request.header("access-control-request-method"):
            exchange.respond(400, b"Disallowed CORS origin", _PREFLIGHT)
            return
        if path.startswith(_GUARDED) and request.method != "OPTIONS" and not self._authorized(request):
            exchange.respond(401, b'{"error":"Unauthorized"}', _JSON, bare=True)
            return
        route = find(self._routes, path)
        if route is None:
            self._astray(exchange, path)
        elif request.method not in route.handlers:
            allowed = ", ".join(sorted(route.handlers))
            exchange.respond(405, b'{"detail":"Method Not Allowed"}', (("allow", allowed), *_JSON))
        else:
            route.handlers[request.method](call)

    def _authorized(self, request: Request) -> bool:
        keys = self._instance.options.api_keys
        if not keys:
            return True
        match = _BEARER.fullmatch(request.header("authorization") or "")
        return match is not None and match.group(1) in keys

    def _astray(self, exchange: Exchange, path: str) -> None:
        """A trailing slash redirects, everything else is not found."""
        other: Route | None = find(self._routes, path.rstrip("/")) if path.endswith("/") else None
        if other is None:
            raise detail(404, "Not Found")
        query = f"?{exchange.request.query}" if exchange.request.query else ""
        location = f"http://{exchange.request.header('host') or ''}{path.rstrip('/')}{query}"
        exchange.respond(307, b"", (("content-length", "0"), ("location", location)))
