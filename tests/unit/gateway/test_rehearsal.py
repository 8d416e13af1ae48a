"""What would become of a call, from its key to its endpoint."""

from __future__ import annotations

import pytest

from app.core.errors import InvalidRequest, ModelNotFound, NoHealthyEndpoint
from app.core.tenant import Key, Limits, Tenant
from app.gateway.question import Question
from app.state.memory import MemoryCounters
from app.tenancy.calendar import Calendar
from app.tenancy.limiter import Limiter
from app.wire.surfaces import SURFACES
from tests.clock import FakeClock
from tests.fakes import make_call
from tests.unit.gateway.stage import stage
from tests.unit.upstream.fleets import make_fleet, spec

CHAT = SURFACES["/v1/chat/completions"]
BOTH = {"m": "m", "n": "n"}


class Stage:
    def __init__(self, *specs, default: str | None = None) -> None:
        clock = FakeClock()
        self.fleet = make_fleet(
            *(specs or (spec("a", models=BOTH), spec("b", models={"n": "n"}))), clock=clock
        )
        self.counters = MemoryCounters(clock)
        self.limiter = Limiter(self.counters, clock, Calendar())
        self.rehearse = stage(self.fleet, self.limiter, default=default)

    async def ask(self, body=None, **fields):
        said = {"model": "m", "max_tokens": 10} if body is None else body
        return await self.rehearse(Question(fields.pop("surface", CHAT), said, **fields))


def key(limits: Limits | None = None, models: set[str] | None = None, **tenant) -> Key:
    held = None if models is None else frozenset(models)
    return Key("key_1", Tenant("tnt_1", "team", limits or Limits(), **tenant), models=held)


async def test_a_call_that_would_be_served():
    told = await Stage().ask(prompt_tokens=100, session="s")
    assert (told["would"], told["endpoint"], told["error"], told["allowed"]) == ("dispatch", "a", None, True)
    assert (told["tenant_id"], told["key_id"], told["limits"]) == (None, None, [])
    assert (told["prompt_tokens"], told["completion_limit"], told["streams"]) == (100, 10, False)
    assert told["model"] == {"asked": "m", "resolved": "m", "by": "name", "fallbacks": ["n"]}
    assert [route["model"] for route in told["routes"]] == ["m"]


@pytest.mark.parametrize(("asked", "by"), [("alias", "alias"), (None, "default")])
async def test_other_ways_to_a_model(asked, by):
    body = {} if asked is None else {"model": asked}
    told = await Stage(default="m").ask(body)
    assert (told["model"]["asked"], told["model"]["resolved"], told["model"]["by"]) == (asked, "m", by)


async def test_a_model_that_the_key_may_not_use():
    told = await Stage().ask(key=key(models={"n"}))
    assert (told["allowed"], told["would"], told["endpoint"]) == (False, "refuse", None)
    assert (told["error"]["status"], told["error"]["code"]) == (404, "model_not_found")
    assert told["routes"][0]["would"] == "dispatch"


async def test_a_key_that_opens_nothing():
    told = await Stage().ask(key=key(), unusable="expired")
    assert (told["key_unusable"], told["would"], told["error"]["status"]) == ("expired", "refuse", 401)
    assert told["allowed"]


async def test_a_limit_that_would_refuse_and_nothing_is_taken_of_it():
    stage = Stage()
    tight = key(Limits(tokens_per_minute=100, requests_per_minute=5))
    for _ in range(9):
        told = await stage.ask(key=tight, prompt_tokens=50)
    assert told["would"] == "dispatch"
    assert [(row["of"], row["rule"], row["cost"], row["used"], row["allowed"]) for row in told["limits"]] == [
        ("tenant", "requests_per_minute", 1, 0, True),
        ("tenant", "tokens_per_minute", 60, 0, True),
    ]
    assert stage.counters.reserved == 0
    release = await stage.limiter.admit(_call(tight, 41))
    told = await stage.ask(key=tight, prompt_tokens=50)
    assert (told["would"], told["error"]["code"]) == ("refuse", "rate_limit_exceeded")
    assert [(row["remaining"], row["allowed"]) for row in told["limits"]] == [(4, True), (59, False)]
    assert told["error"]["retry_after_s"] == told["limits"][1]["retry_after_s"] == pytest.approx(0.6)
    with pytest.raises(Exception, match="Try again in 1 s"):
        await stage.limiter.admit(_call(tight, 60))
    del release


async def test_more_than_the_whole_limit_allows_is_what_the_caller_is_told():
    told = await Stage().ask(key=key(Limits(tokens_per_minute=100)), prompt_tokens=101)
    assert (told["error"]["code"], told["error"]["status"]) == ("request_exceeds_limit", 400)
    assert [(row["cost"], row["allowed"]) for row in told["limits"]] == [(111, False)]


async def test_strict_tenant_reserves_all_that_the_answer_may_take():
    strict = key(Limits(tokens_per_minute=100), strict=True)
    told = await Stage().ask({"model": "m"}, key=strict, prompt_tokens=5)
    assert (told["error"]["code"], told["error"]["param"]) == ("invalid_request", "max_tokens")


async def test_fallbacks_are_tried_in_order_until_one_could_take_the_call():
    stage = Stage()
    stage.fleet.endpoints["a"].probed("down")
    told = await stage.ask(prompt_tokens=5)
    assert [(r["model"], r["would"], r["endpoint"]) for r in told["routes"]] == [
        ("m", "refuse", None),
        ("n", "dispatch", "b"),
    ]
    assert (told["would"], told["endpoint"]) == ("dispatch", "b")
    stage.fleet.endpoints["b"].probed("down")
    told = await stage.ask(prompt_tokens=5)
    assert (told["would"], told["error"]["code"]) == ("refuse", "no_healthy_endpoint")


async def test_fallbacks_are_those_that_the_key_may_use():
    stage = Stage()
    stage.fleet.endpoints["a"].probed("down")
    told = await stage.ask(key=key(models={"m"}))
    assert (told["model"]["fallbacks"], len(told["routes"])) == ([], 1)


async def test_what_no_key_could_ask_is_an_error():
    with pytest.raises(ModelNotFound):
        await Stage().ask({"model": "unknown"})
    with pytest.raises(InvalidRequest, match="Name a model"):
        await Stage().ask({})
    with pytest.raises(InvalidRequest, match="'n' must be an integer"):
        await Stage().ask({"model": "m", "n": 0})


async def test_a_fleet_that_knows_no_model_yet():
    fleet = make_fleet(spec("a", models=None))
    rehearse = stage(fleet, Limiter(MemoryCounters(FakeClock()), FakeClock(), Calendar()))
    rehearse._catalog.offer({}, None)
    with pytest.raises(NoHealthyEndpoint):
        await rehearse(Question(CHAT, {"model": "m"}))


def _call(owner: Key, tokens: int):
    return make_call(key=owner, prompt_estimate=tokens, completion_limit=0)
