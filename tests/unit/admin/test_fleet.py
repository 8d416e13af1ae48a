"""The fleet over REST."""

from __future__ import annotations

import pytest

from tests.unit.admin.desk import SECRETS


@pytest.fixture
async def operator(desk):
    async with desk.client(SECRETS["operator"]) as client:
        yield client


def state(desk, name="gpu-a") -> str:
    return next(row for row in desk.fleet.status()["endpoints"] if row["name"] == name)["state"]


async def test_every_endpoint_is_shown_with_its_state(admin):
    listed = (await admin.get("/fleet")).json()
    assert (listed["object"], listed["has_more"], listed["next_cursor"]) == ("list", False, None)
    assert [row["name"] for row in listed["data"]] == ["gpu-a", "gpu-b"]
    shown = listed["data"][0]
    for name in ("state", "breaker", "inflight", "queued", "load", "models", "health"):
        assert name in shown
    assert (shown["intent"], shown["models"]) == (None, ["m"])


async def test_a_drained_endpoint_takes_no_calls_until_it_is_resumed(desk, operator):
    answer = await operator.post("/fleet/gpu-a/drain", json={"reason": "new driver"})
    assert (answer.status_code, answer.json()["name"], answer.json()["state"]) == (200, "gpu-a", "drained")
    assert answer.json()["intent"] == {
        "want": "drain", "reason": "new driver", "actor": "operator-ann", "until": None,
    }  # fmt: skip
    assert (state(desk), state(desk, "gpu-b")) == ("drained", "up")
    answer = await operator.post("/fleet/gpu-a/resume")
    assert (answer.json()["state"], answer.json()["intent"], state(desk)) == ("up", None, "up")


async def test_an_ejected_endpoint_is_left_out_until_it_is_restored(desk, operator):
    answer = await operator.post("/fleet/gpu-a/eject", json={"reason": "slow"})
    assert (answer.json()["state"], answer.json()["eject_reason"]) == ("ejected", "slow")
    answer = await operator.post("/fleet/gpu-a/restore", json={})
    assert (answer.json()["state"], answer.json()["ejected"]) == ("up", False)


@pytest.mark.parametrize(("span", "seconds"), [("30s", 30), (30, 30), ("0.5m", 30), (30.0, 30)])
async def test_a_wish_may_be_for_a_while(desk, operator, span, seconds):
    answer = await operator.post("/fleet/gpu-a/drain", json={"for": span})
    assert answer.json()["intent"]["until"] == desk.stores.clock.time() + seconds
    desk.stores.clock.advance(seconds - 1)
    assert state(desk) == "drained"
    desk.stores.clock.advance(1)
    assert state(desk) == "up"
    assert (await operator.get("/fleet")).json()["data"][0]["intent"] is None


async def test_the_last_wish_counts(desk, operator):
    await operator.post("/fleet/gpu-a/drain")
    answer = await operator.post("/fleet/gpu-a/eject")
    assert (answer.json()["state"], answer.json()["draining"]) == ("ejected", False)


@pytest.mark.parametrize(("wish", "wrong"), [("drain", "restore"), ("eject", "resume")])
async def test_the_end_of_the_other_wish_changes_nothing(desk, operator, wish, wrong):
    before = (await operator.post(f"/fleet/gpu-a/{wish}")).json()
    assert (await operator.post(f"/fleet/gpu-a/{wrong}")).json() == before


@pytest.mark.parametrize("act", ["drain", "resume", "eject", "restore"])
async def test_saying_it_twice_is_saying_it_once(desk, operator, act):
    first = await operator.post(f"/fleet/gpu-a/{act}")
    again = await operator.post(f"/fleet/gpu-a/{act}")
    assert (first.status_code, first.json()) == (again.status_code, again.json())


@pytest.mark.parametrize("act", ["drain", "resume", "eject", "restore"])
async def test_there_is_nothing_to_want_of_an_endpoint_that_is_not_there(desk, operator, act):
    answer = await operator.post(f"/fleet/gpu-z/{act}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    assert await desk.audit() == []


@pytest.mark.parametrize(
    ("body", "param"),
    [({"for": "soon"}, "for"), ({"for": -1}, "for"), ({"for": "400d"}, "for"), ({"seconds": 5}, "seconds"),
     ({"reason": "a\nb"}, "reason"), ({"reason": "x" * 300}, "reason")],
)  # fmt: skip
async def test_a_wish_that_is_not_clear_is_refused(desk, operator, body, param):
    answer = await operator.post("/fleet/gpu-a/drain", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert state(desk) == "up"


async def test_every_wish_is_written_down(desk, operator):
    await operator.post("/fleet/gpu-a/drain", json={"for": 60, "reason": "driver"})
    await operator.post("/fleet/gpu-a/resume", json={"reason": "done"})
    await operator.post("/fleet/gpu-b/eject")
    await operator.post("/fleet/gpu-b/restore")
    rows = await desk.audit()
    assert [(row["actor"], row["action"], row["subject"]) for row in reversed(rows)] == [
        ("operator-ann", "fleet.drain", "gpu-a"), ("operator-ann", "fleet.resume", "gpu-a"),
        ("operator-ann", "fleet.eject", "gpu-b"), ("operator-ann", "fleet.restore", "gpu-b"),
    ]  # fmt: skip
    drained, resumed = rows[3]["detail"], rows[2]["detail"]
    assert (drained["before"], drained["after"]["reason"]) == (None, "driver")
    assert (resumed["before"]["want"], resumed["after"], resumed["reason"]) == ("drain", None, "done")


def set_aside(fleet, name="gpu-a"):
    """As the gateway does by itself."""
    for _ in range(5):
        fleet.endpoints[name].conduct.failed(1.0)


async def test_restoring_ends_what_the_gateway_decided_on_by_itself(desk, operator):
    set_aside(desk.fleet)
    assert (state(desk), (await operator.get("/fleet")).json()["data"][0]["intent"]) == ("ejected", None)
    answer = await operator.post("/fleet/gpu-a/restore", json={"reason": "I know better"})
    assert (answer.json()["state"], answer.json()["ejected"]) == ("up", False)
