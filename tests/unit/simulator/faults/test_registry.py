from __future__ import annotations

from app.simulator.faults.fault import Fault
from app.simulator.faults.registry import Faults

CHAT = "/v1/chat/completions"


def meet(faults, path=CHAT, **about):
    fields = {"model": None, "request_id": None, "stream": False} | about
    found = faults.meet(path, **fields)
    return found and found.fault


def test_a_count_is_used_up_exactly():
    faults = Faults()
    faults.add("silent", count=2)
    assert [meet(faults) for _ in range(3)] == ["silent", "silent", None]


def test_without_a_count_it_lasts_until_cleared():
    faults = Faults()
    faults.add("silent", count=None)
    assert [meet(faults) for _ in range(3)] == ["silent"] * 3
    faults.clear()
    assert meet(faults) is None


def test_the_first_that_matches_is_met():
    faults = Faults()
    faults.add("rst", match={"path": "/v1/completions"})
    faults.add("silent")
    faults.add(Fault(fault="close"))
    assert [meet(faults), meet(faults), meet(faults, "/v1/completions")] == ["silent", "close", "rst"]


def test_probes_and_scrapes_only_meet_what_is_meant_for_them():
    faults = Faults()
    faults.add("silent")
    faults.add("health_dead")
    faults.add("metrics_hang")
    paths = ("/v1/models", "/sim/truth", "/health", "/metrics", "/version", "/load", CHAT)
    assert [meet(faults, path) for path in paths] == [
        None,
        None,
        "health_dead",
        "metrics_hang",
        None,
        None,
        "silent",
    ]


def test_any_path_can_be_meant():
    faults = Faults()
    faults.add({"fault": "silent", "match": {"path": "/v1/models"}})
    assert (meet(faults, CHAT), meet(faults, "/v1/models")) == (None, "silent")


def test_shows_what_is_left():
    faults = Faults()
    faults.add(fault="silent", count=3)
    meet(faults)
    assert [(row["fault"], row["count"]) for row in faults.armed()] == [("silent", 2)]
    assert repr(faults) == "Faults(['silent'])"
