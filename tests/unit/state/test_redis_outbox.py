"""What is told to Redis: in order, and once, whatever is lost on the way."""

from __future__ import annotations

import asyncio

import pytest
from msgspec import msgpack

from app.state.redis_batch import LARGEST, Code, Operation
from app.state.redis_outbox import Outbox
from app.state.redis_rules import Preparations
from app.state.rule import Window, Windows, rule

WINDOWS = Windows(Window(0, 100), Window(0, 1000))
PREPARED = Preparations().of(
    (
        rule("k", "key", "requests_per_minute", 60),
        rule("k", "key", "concurrency", 5),
        rule("k", "key", "tokens_per_day", 900),
    ),
    WINDOWS,
)


def settle(reserved: int, tokens: int = 0) -> Operation:
    return Operation(Code.SETTLE, (reserved, tokens), PREPARED)


def waiting() -> Operation:
    return Operation(Code.TAKE, (9,), PREPARED, asyncio.get_running_loop().create_future())


def told(batch: bytes) -> list:
    return msgpack.decode(batch)[5]


@pytest.fixture
def outbox():
    return Outbox("g")


def test_a_batch_names_its_gateway_and_number_and_carries_rules_once(outbox):
    outbox.put(settle(5, 3))
    outbox.put(settle(6, 4))
    gateway, number, _, now, rules, operations = msgpack.decode(outbox.batch(False))
    assert (gateway, number, now) == ("g", 1, False)
    assert rules == [
        [
            ["k:requests_per_minute", 60, 1.0, 0, 0.0],
            ["k:concurrency", 5, 0.0, 2, 0.0],
            ["k:tokens_per_day@0", 900, 0.0, 1, 100],
        ]
    ]
    assert operations == [[2, 1, 5, 3], [2, 1, 6, 4]]


def test_a_batch_has_an_end(outbox):
    for _ in range(LARGEST + 1):
        outbox.put(settle(1))
    assert len(told(outbox.batch(False))) == LARGEST
    assert len(outbox) == 1


async def test_who_does_not_wait_any_more_asks_nothing(outbox):
    gone, there = waiting(), waiting()
    outbox.put(gone)
    outbox.put(there)
    gone.waiter.cancel()
    assert len(told(outbox.batch(False))) == 1
    assert outbox.under_way == [there]
    outbox.heard()
    assert outbox.under_way == []


async def test_a_loss_ends_all_waiting_and_forgets_nothing_that_lasts(outbox):
    under_way, queued = waiting(), waiting()
    outbox.put(under_way)
    outbox.put(settle(1))
    outbox.batch(False)
    outbox.put(queued)
    outbox.put(Operation(Code.HOLD, ("a", 1)))
    outbox.put(settle(2))
    outbox.lose()
    assert [under_way.waiter.result(), queued.waiter.result()] == [None, None]
    assert len(outbox) == 1


@pytest.mark.parametrize(
    ("executed", "expected"), [(True, [[2, 1, 2, 0]]), (False, [[2, 1, 1, 0], [2, 1, 2, 0]])]
)
def test_a_lost_batch_is_told_again_if_and_only_if_it_was_not_executed(outbox, executed, expected):
    outbox.batch(False)
    outbox.put(settle(1))
    outbox.batch(False)
    outbox.put(settle(2))
    outbox.lose()
    outbox.question(False)
    outbox.found(2 if executed else 1)
    assert told(outbox.batch(False)) == expected
    outbox.found(0)
    assert len(outbox) == 0


def test_what_is_not_given_back_yet_counts_as_held(outbox):
    outbox.put(settle(50))
    held = outbox.held({"k:concurrency": 2, "else": 7})
    assert held == {"k:concurrency": 3, "k:tokens_per_day@0": 50, "else": 7}


def test_every_question_makes_a_new_holder(outbox):
    holders = [msgpack.decode(outbox.question(False))[2] for _ in range(2)]
    holders.append(msgpack.decode(outbox.batch(False))[2])
    assert holders == ["g/1", "g/2", "g/2"]
