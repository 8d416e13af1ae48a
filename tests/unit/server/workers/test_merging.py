from __future__ import annotations

import json

from app.server.workers import merging
from app.server.workers.doors import Answer, Request


def answers(*pages, status=200):
    return [
        Answer(seat, 100 + seat, status, (), json.dumps(page).encode()) for seat, page in enumerate(pages)
    ]


def endpoint(name="gpu-a", **known):
    row = {
        "state": "up",
        "health": "up",
        "breaker": "closed",
        "reopens_in": None,
        "inflight": 1,
        "limit": 256,
    }
    row |= {"load": 1.0, "latency": None, "draining": False, "busy_for": 0.0, "queued": 0, "ejected": False}
    return {"name": name, **row, "weight": 2, "last_error": None, "running": 3.0} | known


def status(*endpoints, **known):
    page = {
        "state": "serving",
        "version": "1",
        "connections": 2,
        "ledger_pending": 0,
        "inflight": 1,
        "queued": 0,
    }
    models = {"qwen3": {"endpoints": ["gpu-a"], "queued": 1, "panic": False}}
    return page | {"endpoints": list(endpoints), "leaving": [], "models": models} | known


def merged(merge, *pages, target=b"/", code=200):
    got, kind, body = merge(Request("GET", "/", target), answers(*pages, status=code))
    assert kind == b"application/json"
    return got, json.loads(body)


def test_calls_of_all_workers_add_up():
    _, whole = merged(merging.status, status(endpoint(inflight=2), inflight=2), status(endpoint(), queued=3))
    assert (whole["connections"], whole["inflight"], whole["queued"]) == (4, 3, 3)
    assert whole["version"] == "1"
    (row,) = whole["endpoints"]
    assert (row["inflight"], row["limit"], row["load"], row["running"]) == (3, 512, 2.0, 3.0)
    assert whole["models"] == {"qwen3": {"endpoints": ["gpu-a"], "queued": 2, "panic": False}}
    assert [(each["worker"], each["pid"], each["inflight"]) for each in whole["workers"]] == [
        (0, 100, 2),
        (1, 101, 1),
    ]


def test_the_worst_state_of_an_endpoint_shows_and_whose_it_is():
    broken = endpoint(state="open", breaker="open", reopens_in=4.0, draining=True, last_error="5xx")
    _, whole = merged(merging.status, status(endpoint()), status(broken))
    (row,) = whole["endpoints"]
    assert (row["state"], row["breaker"], row["reopens_in"]) == ("open", "open", 4.0)
    assert (row["draining"], row["last_error"]) == (True, "5xx")
    assert [(each["worker"], each["breaker"]) for each in row["workers"]] == [(0, "closed"), (1, "open")]


def test_the_journal_is_one_and_limits_are_shared_while_all_workers_share_them():
    pages = [
        status(journal_backlog=3, shared_limits={"up": True, "gateways": 3}),
        status(journal_backlog=5, shared_limits={"up": False, "gateways": 4}),
    ]
    _, whole = merged(merging.status, *pages)
    assert (whole["journal_backlog"], whole["ledger_pending"]) == (5, 0)
    assert whole["shared_limits"] == {"up": False, "gateways": 4}


def test_an_endpoint_only_one_worker_still_has_is_there():
    page = status(endpoint())
    page["leaving"] = [endpoint("gone")]
    _, whole = merged(merging.status, status(endpoint(), endpoint("gpu-b")), page)
    assert [row["name"] for row in whole["endpoints"]] == ["gpu-a", "gpu-b"]
    assert [row["workers"][0]["worker"] for row in whole["leaving"]] == [1]


def test_a_gateway_serves_while_one_of_its_workers_does():
    assert merged(merging.status, status(state="draining"), status())[1]["state"] == "serving"
    assert merged(merging.status, status(state="draining"))[1]["state"] == "draining"


def test_the_fleet_keeps_what_operators_want():
    pages = [{"object": "list", "data": [endpoint(intent={"want": "drain"})], "has_more": False}] * 2
    _, whole = merged(merging.fleet, *pages)
    assert whole["data"][0]["intent"] == {"want": "drain"}
    assert whole["data"][0]["inflight"] == 2


def test_ready_while_one_worker_is_else_with_all_reasons():
    assert merged(merging.ready, {"status": "ready"})[0] == 200
    unready = [{"reasons": ["draining"]}, {"reasons": ["draining", "usage cannot be recorded"]}]
    code, whole = merged(merging.ready, *unready, code=503)
    assert (code, whole["reasons"]) == (503, ["draining", "usage cannot be recorded"])


def calls(*names, more=False):
    return {"data": [{"started_at": float(name), "call_id": name} for name in names], "has_more": more}


def test_running_calls_are_one_list_by_age():
    _, whole = merged(merging.inflight, calls("1", "4"), calls("2", "3"))
    assert [(row["call_id"], row["worker"]) for row in whole["data"]] == [
        ("1", 0),
        ("2", 1),
        ("3", 1),
        ("4", 0),
    ]
    assert (whole["has_more"], whole["next_cursor"]) == (False, None)


def test_a_page_of_running_calls_ends_where_the_next_begins():
    _, whole = merged(merging.inflight, calls("1", "4"), calls("2", "3"), target=b"/?limit=2")
    assert [row["call_id"] for row in whole["data"]] == ["1", "2"]
    assert whole["has_more"]
    assert merging.encode_cursor(2.0, "2") == whole["next_cursor"]
    assert merged(merging.inflight, calls("1", more=True), calls(), target=b"/?limit=1")[1]["has_more"]
