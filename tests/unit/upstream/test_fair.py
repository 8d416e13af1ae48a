from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from app.resilience.options import QueueOptions
from app.upstream.fair import SLACK, FairQueue
from tests.clock import FakeClock
from tests.unit.upstream.waiters import make_waiter, order


def queue_of(*waiters) -> FairQueue:
    queue = FairQueue(FakeClock(), QueueOptions)
    for waiter in waiters:
        queue.push(waiter)
    return queue


def flood(tenant: str, calls: int, cost: int = 100) -> list:
    return [make_waiter(tenant, cost) for _ in range(calls)]


def test_alone_it_is_first_come_first_served():
    waiters = flood("a", 5)
    queue = queue_of(*waiters)
    for waiter in waiters:
        assert queue.first() is waiter
        queue.serve(waiter)
    assert (len(queue), queue.tokens, queue.waiting, queue.fresh) == (0, 0, 0, 0)


def test_a_newcomer_is_next_whatever_others_have_waiting():
    queue = queue_of(*flood("a", 50))
    assert order(queue, 20) == "a" * 20
    queue.push(make_waiter("b"))
    assert order(queue, 3) == "baa"


def test_whoever_comes_one_at_a_time_is_served_every_second_time():
    queue = queue_of(*flood("a", 50))
    served = ""
    for _ in range(10):
        queue.push(make_waiter("b"))
        served += order(queue, 2)
    assert served.count("b") == 10


def test_large_calls_cost_turns():
    queue = queue_of(*flood("a", 50, cost=1000), *flood("b", 500, cost=100))
    served = order(queue, 110)
    assert served.count("a") == 10


def test_leaving_and_coming_again_wins_nothing():
    """One large call at a time against a flood of small ones."""
    queue = queue_of(*flood("a", 500, cost=100))
    queue.push(make_waiter("b", 2000))
    order(queue, 2)
    queue.push(make_waiter("b", 2000))
    assert order(queue, 19) == "a" * 19
    assert "b" in order(queue, 2)


def test_a_quiet_time_is_no_credit():
    queue = queue_of(*flood("a", 30))
    order(queue, 20)
    for waiter in flood("b", 10):
        queue.push(waiter)
    assert order(queue, 6) == "bababa"


def test_it_begins_anew_when_nobody_waits():
    queue = queue_of(*flood("a", 30))
    order(queue)
    assert (queue.now, queue._backlogs, queue._next) == (0.0, {}, [])


def test_those_held_back_and_those_in_vain_are_passed_over():
    first, second, third = make_waiter("a"), make_waiter("b", 100, "gpu"), make_waiter("c")
    queue = queue_of(first, second, third)
    assert queue.first() is first
    assert queue.first({frozenset()}) is second
    assert queue.first((), {"a", "b"}) is third
    assert queue.first({frozenset()}, {"b"}) is None


def test_the_greediest_is_found_again_after_every_change():
    small, large = make_waiter("a", 10), make_waiter("b", 1000)
    queue = queue_of(small, large)
    assert queue.greediest.tenant == "b"
    queue.remove(large)
    assert queue.greediest.tenant == "a"
    for waiter in flood("c", 20, cost=10):
        queue.push(waiter)
    assert queue.greediest.tenant == "c"


def test_what_is_ahead_of_a_flood_is_its_own_backlog_and_of_a_newcomer_nothing():
    queue = queue_of(*flood("a", 50))
    order(queue, 10)
    assert queue.ahead_of("a") == queue.tokens == 4000
    assert queue.ahead_of("b") == 0
    queue.push(make_waiter("b", 300))
    assert queue.ahead_of("c") == 300
    assert queue.ahead_of("b") == 300 + 2 * 300
    order(queue, 1)
    assert queue.ahead_of("c") == 0


def test_what_a_tenant_within_its_share_has_waiting_itself_is_no_flood():
    queue = queue_of(*flood("a", 50))
    order(queue, 10)
    for _ in range(3):
        queue.push(make_waiter("b", 300))
    assert queue.flooded_before("b") == 0
    assert queue.flooded_before("c") == queue.fresh == 300
    assert queue.flooded_before("a") == queue.ahead_of("a")
    assert order(queue, 1) == "b"
    assert queue.flooded_before("b") == queue.ahead_of("b") > 0


def test_little_is_remembered_of_many_who_came_and_left():
    queue = queue_of(*flood("a", 2000, cost=1))
    for number in range(1000):
        waiter = make_waiter(f"tenant-{number}", 1)
        queue.push(waiter)
        (queue.remove if number % 2 else queue.serve)(waiter)
        order(queue, 1)
    assert len(queue._backlogs) <= 2 + SLACK + 2
    assert len(queue._next) <= 2 + SLACK + 2
    for _ in range(1000):
        waiter = make_waiter("b", 1)
        queue.push(waiter)
        queue.remove(waiter)
    assert len(queue._next) <= 2 + SLACK + 2


@given(
    costs=st.dictionaries(
        st.sampled_from("abcd"), st.lists(st.integers(1, 5000), min_size=1, max_size=30), min_size=2
    )
)
@settings(max_examples=200, deadline=None)
def test_the_served_tokens_of_two_who_wait_differ_by_no_more_than_a_call_of_each(costs):
    """Goyal, Vin and Cheng's bound, over every interval in which both wait."""
    queue = queue_of(*(make_waiter(tenant, cost) for tenant, each in costs.items() for cost in each))
    given_so_far: dict[str, int] = defaultdict(int)
    history = []
    while all(queue.backlog(tenant) for tenant in costs):
        waiter = queue.first()
        assert waiter is not None
        queue.serve(waiter)
        given_so_far[waiter.tenant] += waiter.cost
        history.append(dict(given_so_far))
    for one, other in pairwise(sorted(costs)):
        gaps = [so_far.get(one, 0) - so_far.get(other, 0) for so_far in [{}, *history]]
        assert max(gaps) - min(gaps) <= max(costs[one]) + max(costs[other])


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(
                st.just("push"), st.sampled_from("abc"), st.integers(1, 999), st.sampled_from(["", "x"])
            ),
            st.tuples(st.sampled_from(["serve", "leave"]), st.integers(0, 99)),
        ),
        max_size=80,
    )
)
@settings(max_examples=200, deadline=None)
def test_nobody_is_lost_and_within_a_tenant_and_kind_nobody_overtakes(steps):
    queue, waiting = FairQueue(FakeClock(), QueueOptions), []
    for step in steps:
        if step[0] == "push":
            _, tenant, cost, tried = step
            waiter = make_waiter(tenant, cost, *tried)
            waiting.append(waiter)
            queue.push(waiter)
        elif step[0] == "serve":
            waiter = queue.first()
            assert (waiter is None) == (not waiting)
            if waiter is not None:
                assert waiter is next(each for each in waiting if each.tenant == waiter.tenant)
                waiting.remove(waiter)
                queue.serve(waiter)
        elif waiting:
            waiter = waiting.pop(step[1] % len(waiting))
            queue.remove(waiter)
        assert len(queue) == len(waiting)
        assert queue.tokens == sum(waiter.cost for waiter in waiting)
        assert queue.waiting == len({waiter.tenant for waiter in waiting})
        assert queue.fresh >= 0
        sizes = defaultdict(int)
        for waiter in waiting:
            sizes[waiter.tenant] += waiter.cost
        if waiting:
            assert queue.greediest.size == max(sizes.values()).bit_length()
            assert queue.greediest.tokens == sizes[queue.greediest.tenant]
    assert len(order(queue)) == len(waiting)
    assert (queue.tokens, queue.fresh, queue.waiting, len(queue)) == (0, 0, 0, 0)
