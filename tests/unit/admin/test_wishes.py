"""What operators want of the fleet outlives the gateway and reaches the others."""

from __future__ import annotations

from app.store.changes import Changes
from app.store.intents import Intents
from tests.unit.admin.desk import wishes_of
from tests.unit.upstream.fleets import make_fleet, make_plan, spec


def state(fleet, name="gpu-a") -> str:
    return next(row for row in fleet.status()["endpoints"] if row["name"] == name)["state"]


def another_gateway(desk):
    """A fleet of its own over the same database."""
    stores = desk.stores
    changes = Changes(stores.database, stores.clock)
    fleet = make_fleet(spec("gpu-a"), spec("gpu-b"), clock=stores.clock)
    other = type(stores)(**{**vars(stores), "changes": changes})
    other.intents = Intents(stores.database, changes, stores.clock)
    return fleet, changes, wishes_of(other, fleet)


async def say(desk, endpoint="gpu-a", wish="drain", seconds=None):
    await desk.parts.wishes.say(endpoint, wish, actor="ann", reason="why", seconds=seconds)


async def test_a_gateway_that_starts_later_hears_of_it(desk):
    await say(desk)
    await say(desk, "gpu-b", "eject")
    fleet, changes, _ = another_gateway(desk)
    await changes.look()
    assert (state(fleet), state(fleet, "gpu-b")) == ("drained", "ejected")


async def test_another_gateway_hears_of_it_at_its_next_look(desk):
    fleet, changes, _ = another_gateway(desk)
    await changes.look()
    await say(desk)
    await changes.look()
    assert state(fleet) == "drained"
    await say(desk, wish="eject")
    await changes.look()
    assert state(fleet) == "ejected"
    await desk.parts.wishes.take_back("gpu-a", "eject")
    await changes.look()
    assert state(fleet) == "up"


async def test_a_late_hearer_waits_for_the_rest_of_the_time_only(desk):
    await say(desk, seconds=60)
    await say(desk, "gpu-b", "eject", seconds=60)
    desk.stores.clock.advance(50)
    fleet, changes, wishes = another_gateway(desk)
    await changes.look()
    desk.stores.clock.advance(9)
    assert (state(fleet), state(fleet, "gpu-b")) == ("drained", "ejected")
    desk.stores.clock.advance(1)
    assert (state(fleet), state(fleet, "gpu-b")) == ("up", "up")
    assert wishes.about("gpu-a") is None


async def test_a_wish_that_is_over_is_not_taken_back_again(desk):
    await say(desk, seconds=60)
    desk.stores.clock.advance(61)
    await say(desk, "gpu-b")
    assert (state(desk.fleet), state(desk.fleet, "gpu-b")) == ("up", "drained")


async def test_a_wish_waits_for_an_endpoint_that_is_away(desk):
    desk.fleet.apply(make_plan(spec("gpu-b")))
    await desk.parts.wishes._intents.say("gpu-a", "drain", actor="ann")
    desk.fleet.apply(make_plan(spec("gpu-a"), spec("gpu-b")))
    assert (state(desk.fleet), state(desk.fleet, "gpu-b")) == ("drained", "up")


async def test_taking_back_while_an_endpoint_is_away_is_no_trouble(desk):
    await say(desk)
    desk.fleet.apply(make_plan(spec("gpu-b")))
    await desk.parts.wishes.take_back("gpu-a", "drain")
    desk.fleet.apply(make_plan(spec("gpu-a"), spec("gpu-b")))
    assert state(desk.fleet) == "up"


async def test_other_changes_of_an_endpoint_say_nothing_about_wishes(desk):
    await say(desk)
    desk.fleet.resume("gpu-a")
    assert state(desk.fleet) == "up"


async def test_a_restoration_reaches_gateways_that_set_it_aside_by_themselves(desk):
    fleet, changes, _ = another_gateway(desk)
    await changes.look()
    for each in (desk.fleet, fleet):
        for _ in range(5):
            each.endpoints["gpu-a"].conduct.failed(1.0)
    await desk.parts.wishes.restore("gpu-a", actor="ann", reason="")
    await changes.look()
    assert (state(desk.fleet), state(fleet)) == ("up", "up")


async def test_a_restoration_leaves_a_drain_alone(desk):
    await say(desk)
    await desk.parts.wishes.restore("gpu-a", actor="ann", reason="")
    assert state(desk.fleet) == "drained"


async def test_a_restoration_that_was_heard_is_over(desk):
    await desk.parts.wishes.restore("gpu-a", actor="ann", reason="")
    await desk.parts.wishes.restore("gpu-a", actor="ann", reason="")
    desk.stores.clock.advance(6)
    assert desk.parts.wishes.about("gpu-a") is None
    await say(desk, wish="eject")
    assert state(desk.fleet) == "ejected"
