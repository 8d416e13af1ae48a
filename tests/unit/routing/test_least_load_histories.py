"""Whatever befalls a fleet: least load picks what one would pick who looks at every endpoint each time."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from app.core.errors import GatewayError
from app.routing.least_load import LeastLoad
from app.upstream.fleet import Fleet
from tests.clock import FakeClock
from tests.unit.upstream.fleets import SUCCESS, limited, make_call, make_plan, spec

NAMES = "abcdef"
WEIGHTS = st.sampled_from([1, 1, 1, 2, 3, 7])
ENDPOINT = st.sampled_from(NAMES)


class Plain:
    """The rule itself."""

    def __init__(self) -> None:
        self.turns: dict[str, float] = {}
        self.turn = 0.0

    def pick(self, call, endpoints):
        for endpoint in endpoints:
            self.turns.setdefault(endpoint.name, self.turn + 0.5 / endpoint.weight)
        least = min(endpoints, key=lambda endpoint: (endpoint.load, self.turns[endpoint.name]))
        self.turn = max(self.turn, self.turns[least.name])
        self.turns[least.name] = self.turn + 1 / least.weight
        return least


class Both:
    def __init__(self) -> None:
        self.plain, self.least = Plain(), LeastLoad()
        self.eased = self.least.eased

    def pick(self, call, endpoints):
        picked = self.least.pick(call, endpoints)
        assert picked is self.plain.pick(call, endpoints)
        return picked


class Histories(RuleBasedStateMachine):
    """Two models share most of the endpoints, so that each changes the loads that the other sees."""

    @initialize(weights=st.lists(WEIGHTS, min_size=6, max_size=6), limit=st.sampled_from([4, 100, 100]))
    def open(self, weights: list[int], limit: int) -> None:
        self.clock = FakeClock()
        self.limit = limit
        self.running: list = []
        self.fleet = Fleet(self.plan(weights), self.clock, strategies=lambda name: Both())

    def plan(self, weights: list[int]):
        served = [{"m": "m"}, {"m": "m", "n": "n"}, {"m": "m", "n": "n"}, {"n": "n"}] * 2
        specs = [
            spec(name, weight=weight, models=models)
            for name, weight, models in zip(NAMES, weights, served, strict=False)
        ]
        return make_plan(*specs, endpoint_overrides=limited(**dict.fromkeys(NAMES, self.limit)))

    @rule(
        model=st.sampled_from("mn"),
        calls=st.integers(1, 9),
        tried=st.sampled_from(["", "", "", "", "", "bc"]),
    )
    def arrive(self, model: str, calls: int, tried: str) -> None:
        for _ in range(calls):
            found = self.fleet.pool(model).enter_now(make_call(model), tried)
            if found is not None:
                endpoint, lease = found
                assert endpoint.inflight <= self.limit
                assert endpoint.available
                assert endpoint.name not in tried
                self.running.append(lease)

    @precondition(lambda self: self.running)
    @rule(which=st.integers(0, 99), calls=st.integers(1, 9))
    def finish(self, which: int, calls: int) -> None:
        for _ in range(min(calls, len(self.running))):
            self.running.pop(which % len(self.running)).settle(SUCCESS)

    @rule(name=ENDPOINT)
    def slow_start(self, name: str) -> None:
        self.fleet.endpoints[name].recover()
        self.clock.advance(1)

    @rule(seconds=st.sampled_from([4, 4, 40]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(name=ENDPOINT, how=st.sampled_from(["drain", "eject", "rehearse"]))
    def operate(self, name: str, how: str) -> None:
        if how == "rehearse":
            found = [self.fleet.pool("m").rehearse(make_call()) for _ in range(2)]
            assert found[0] is found[1] or isinstance(found[0], GatewayError)
        else:
            getattr(self.fleet, how)(name, 4)

    @rule(weights=st.lists(WEIGHTS, min_size=3, max_size=6))
    def reload(self, weights: list[int]) -> None:
        self.fleet.apply(self.plan([*weights, *[0] * (6 - len(weights))]))

    @invariant()
    def nothing_piles_up(self) -> None:
        for pool in self.fleet.pools.values() if hasattr(self, "fleet") else ():
            least = pool.strategy.least
            assert len(least._heap) <= 2 * len(least._entries)


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
