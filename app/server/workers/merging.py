"""What several workers say of one gateway, put together: calls add up, the worst of each state shows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from app.store.page import bounded, encode_cursor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from app.server.workers.doors import Answer, Request

    Rule = Callable[[list[Any]], Any]
    Row = Mapping[str, Any]

JSON = b"application/json"
_BREAKERS = ("open", "half_open", "closed")


def _first(values: list[Any]) -> Any:
    return next((value for value in values if value is not None), None)


def _sum(values: list[Any]) -> Any:
    return None if None in values else sum(values)


def _most(values: list[Any]) -> Any:
    return max((value for value in values if value is not None), default=None)


def _least(values: list[Any]) -> Any:
    return min((value for value in values if value is not None), default=None)


def _state(values: list[Any]) -> Any:
    return next((value for value in values if value != "up"), "up")


def _breaker(values: list[Any]) -> Any:
    return next((state for state in _BREAKERS if state in values), _first(values))


ENDPOINT: dict[str, Rule] = {
    "state": _state, "breaker": _breaker, "reopens_in": _most, "inflight": _sum, "limit": _sum, "load": _sum,
    "latency": _most, "draining": any, "busy_for": _most, "queued": _sum, "ejected": any,
    "ejected_for": _most, "suspected": any, "share": _least,
}  # fmt: skip
"""The rest is the same for all, or is whatever the first of them knows."""

MODEL: dict[str, Rule] = {"queued": _sum, "panic": any}
SHARED: dict[str, Rule] = {"up": all, "gateways": _most}
GATEWAY: dict[str, Rule] = {
    "journal_backlog": _most,
    "shared_limits": lambda values: _merged(values, SHARED),
}
"""What does not add up: the journal is one file for all."""


def status(request: Request, answers: Sequence[Answer]) -> tuple[int, bytes, bytes]:
    """Numbers of the gateway add up; `workers` shows each one's."""
    pages = [json.loads(answer.body) for answer in answers]
    states = [page["state"] for page in pages]
    whole = {"state": "serving" if "serving" in states or not states else states[0]} | {
        name: GATEWAY.get(name, _total)([page[name] for page in pages])
        for name in dict.fromkeys(name for page in pages for name in page)
        if name not in {"state", "endpoints", "leaving", "models"}
    }
    whole["endpoints"] = endpoints(answers, [page["endpoints"] for page in pages])
    whole["leaving"] = endpoints(answers, [page["leaving"] for page in pages])
    names = sorted({name for page in pages for name in page["models"]})
    whole["models"] = {
        name: _merged([page["models"][name] for page in pages if name in page["models"]], MODEL)
        for name in names
    }
    whole["workers"] = [
        {"worker": answer.seat, "pid": answer.pid, **_own(page)}
        for answer, page in zip(answers, pages, strict=True)
    ]
    return 200, JSON, json.dumps(whole).encode()


def fleet(request: Request, answers: Sequence[Answer]) -> tuple[int, bytes, bytes]:
    """The list of endpoints."""
    pages = [json.loads(answer.body) for answer in answers]
    whole = pages[0] | {"data": endpoints(answers, [page["data"] for page in pages])}
    return 200, JSON, json.dumps(whole).encode()


def inflight(request: Request, answers: Sequence[Answer]) -> tuple[int, bytes, bytes]:
    """A page of all workers' calls, each with its worker's number."""
    pages = [json.loads(answer.body) for answer in answers]
    rows = [
        {**row, "worker": answer.seat}
        for answer, page in zip(answers, pages, strict=True)
        for row in page["data"]
    ]
    rows.sort(key=lambda row: (row["started_at"], row["call_id"]))
    asked = parse_qs(request.target.partition(b"?")[2]).get(b"limit")
    size = bounded(int(asked[-1]) if asked else None)
    more = len(rows) > size or any(page["has_more"] for page in pages)
    rows = rows[:size]
    last = encode_cursor(float(rows[-1]["started_at"]), rows[-1]["call_id"]) if more and rows else None
    whole = {"object": "list", "data": rows, "has_more": more, "next_cursor": last}
    return 200, JSON, json.dumps(whole).encode()


def ready(request: Request, answers: Sequence[Answer]) -> tuple[int, bytes, bytes]:
    """While one worker is; else with the reasons of all."""
    if any(answer.status == 200 for answer in answers):
        return 200, JSON, json.dumps({"status": "ready"}).encode()
    told = [json.loads(answer.body).get("reasons", []) for answer in answers]
    reasons = list(dict.fromkeys(reason for each in told for reason in each)) or ["no worker is ready"]
    return 503, JSON, json.dumps({"status": "unready", "reasons": reasons}).encode()


def endpoints(answers: Sequence[Answer], tables: Sequence[Sequence[Row]]) -> list[dict[str, Any]]:
    """One row an endpoint; its `workers` show what is each one's own."""
    found: dict[str, list[tuple[int, Row]]] = {}
    for answer, table in zip(answers, tables, strict=True):
        for row in table:
            found.setdefault(row["name"], []).append((answer.seat, row))
    own = ("state", "health", "breaker", "inflight")
    return [
        _merged([row for _, row in rows], ENDPOINT)
        | {"workers": [{"worker": seat, **{name: row[name] for name in own}} for seat, row in rows]}
        for rows in found.values()
    ]


def _merged(rows: Sequence[Row], rules: Mapping[str, Rule]) -> dict[str, Any]:
    names: Iterable[str] = dict.fromkeys(name for row in rows for name in row)
    return {name: rules.get(name, _first)([row.get(name) for row in rows]) for name in names}


def _total(values: list[Any]) -> Any:
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return sum(values) if numbers else _first(values)


def _own(page: Row) -> dict[str, Any]:
    return {name: value for name, value in page.items() if not isinstance(value, list | dict)}
