"""Whatever callers and endpoints do, and in whatever order: no place is lost, none is used twice."""

from __future__ import annotations

import asyncio

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from app.core.errors import GatewayError
from app.core.outcome import ABANDONED
from tests.clock import FakeClock, settle
from tests.unit.upstream.fleets import SUCCESS, limited, make_call, make_fleet, spec

PLACES = {"a": 1, "b": 2}


class Interleavings(RuleBasedStateMachine):
    """`turn` lets the loop run; without it several things happen within one turn of the loop."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = FakeClock()
        self.arrived: list[asyncio.Task] = []
        self.running: list[tuple[str, object]] = []

    @initialize(length=st.integers(0, 4))
    def open(self, length: int) -> None:
        self.fleet = make_fleet(
            spec("a"), spec("b", models={"m": "m", "n": "n"}), clock=self.clock,
            endpoint_overrides=limited(**PLACES),
            resilience={"queue": {"max_length": length, "max_wait": 5}},
        )  # fmt: skip

    @rule(
        model=st.sampled_from("mmn"),
        tried=st.sampled_from([(), (), ("a",), ("b",)]),
        tenant=st.sampled_from("xyz"),
        cost=st.sampled_from([1, 100, 10_000]),
    )
    def arrive(self, model: str, tried: tuple[str, ...], tenant: str, cost: int) -> None:
        fields = {"tenant": tenant, "priority": 5 if tenant == "z" else 0, "prompt_estimate": cost}

        async def call() -> None:
            arrived = make_call(model, now=self.clock.now, **fields)
            endpoint, lease = await self.fleet.pool(model).enter(arrived, tried)
            assert endpoint.name not in tried
            assert model in endpoint.spec.models
            self.running.append((endpoint.name, lease))

        self.arrived.append(self.loop.create_task(call()))

    @rule(which=st.integers(0, 99))
    def finish(self, which: int) -> None:
        if self.running:
            self.running.pop(which % len(self.running))[1].settle(SUCCESS)

    @rule(which=st.integers(0, 99))
    def hang_up(self, which: int) -> None:
        """Waiting, handed a place a moment ago, or not even asked yet."""
        if self.arrived:
            self.arrived[which % len(self.arrived)].cancel()

    @rule(name=st.sampled_from("ab"), up=st.booleans())
    def probe(self, name: str, up: bool) -> None:
        self.fleet.endpoints[name].probed("up" if up else "down")

    @rule(seconds=st.sampled_from([0.5, 6.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def turn(self) -> None:
        self.loop.run_until_complete(settle())
        for task in [task for task in self.arrived if task.done()]:
            self.arrived.remove(task)
            if not task.cancelled() and task.exception() is not None:
                assert isinstance(task.exception(), GatewayError)
        held = {name: sum(at == name for at, _ in self.running) for name in PLACES}
        for name, endpoint in self.fleet.endpoints.items():
            assert endpoint.inflight == held[name], "every place taken is in somebody's hands"
        for pool in self.fleet.pools.values():
            for waiter in pool.room._line:
                assert pool.choose(waiter.call, waiter.tried) is None, "nobody waits beside a free place"
        assert self.fleet.queued == len(self.arrived)

    @invariant()
    def never_more_wait_than_there_are_seats(self) -> None:
        if hasattr(self, "fleet"):
            for pool in self.fleet.pools.values():
                assert pool.queued <= pool.room.options.max_length

    @invariant()
    def never_more_than_there_is_room_for(self) -> None:
        if hasattr(self, "fleet"):
            for name, endpoint in self.fleet.endpoints.items():
                assert 0 <= endpoint.inflight <= PLACES[name]

    def teardown(self) -> None:
        if hasattr(self, "fleet"):
            for task in self.arrived:
                task.cancel()
            self.loop.run_until_complete(settle())
            for _, lease in self.running:
                lease.settle(ABANDONED)
            assert (self.fleet.inflight, self.fleet.queued) == (0, 0)
        self.loop.close()


Interleavings.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestInterleavings = Interleavings.TestCase
