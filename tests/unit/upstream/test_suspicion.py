from __future__ import annotations

from itertools import pairwise

import pytest

from app.upstream.scraped import Scraped
from app.upstream.suspicion import Suspicion
from tests.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def suspicion(clock: FakeClock) -> Suspicion:
    return Suspicion(clock)


def page(at: float, tokens: int = 5, running: float | None = 1.0, **fields) -> Scraped:
    return Scraped(running=running, tokens=tokens, scraped_at=at, **fields)


def test_scrapes_that_follow_each_other_at_once_confirm_nothing(suspicion: Suspicion):
    scrape(suspicion, page(10), page(10.1), page(10.2), page(11.9))
    assert not suspicion.confirmed(0.0)
    scrape(suspicion, page(11.9), page(12))
    assert suspicion.confirmed(0.0)


def test_a_grave_one_is_news_after_a_slight_one(suspicion: Suspicion):
    assert suspicion.arises(grave=False)
    assert suspicion.arises(grave=True)
    assert not suspicion.arises(grave=True)
    assert not suspicion.arises(grave=False)
    assert suspicion.ends()
    assert not suspicion.grave
    assert suspicion.arises(grave=False)
    assert not suspicion.ends()


def test_it_arises_once_and_ends(suspicion: Suspicion, clock: FakeClock):
    assert suspicion.arises(grave=False)
    clock.advance(3)
    assert not suspicion.arises(grave=False)
    assert suspicion.since == 1_000.0
    suspicion.ends()
    assert suspicion.since is None


def test_a_byte_that_came_after_it_arose_refutes_it(suspicion: Suspicion):
    assert not suspicion.refuted(2_000.0)
    suspicion.arises(grave=False)
    assert not suspicion.refuted(1_000.0)
    assert suspicion.refuted(1_000.1)


def scrape(suspicion: Suspicion, *pages: Scraped) -> list[bool]:
    return [suspicion.compare(before, now) for before, now in pairwise(pages)]


def test_two_scrapes_without_progress_while_there_is_work_confirm_it(suspicion: Suspicion):
    assert scrape(suspicion, page(10), page(25)) == [False]
    assert not suspicion.confirmed(0.0)
    assert scrape(suspicion, page(25), page(40)) == [False]
    assert suspicion.confirmed(9.9)
    assert repr(suspicion) == "<Suspicion since=None flat=2>"


def test_our_own_calls_that_move_meanwhile_outweigh_it(suspicion: Suspicion):
    scrape(suspicion, page(10), page(25), page(40))
    assert not suspicion.confirmed(10.1)


@pytest.mark.parametrize("moved", [{"tokens": 6}, {"kv_usage": 0.1}, {"life": 3.0}])
def test_whatever_moves_ends_the_row(suspicion: Suspicion, moved: dict):
    assert scrape(suspicion, page(10), page(25), page(40, **moved)) == [False, True]
    assert not suspicion.confirmed(0.0)


def test_an_engine_without_work_is_not_stuck(suspicion: Suspicion):
    for running in (0.0, None):
        assert scrape(suspicion, *(page(at, running=running) for at in (10, 25, 40, 55))) == [False] * 3
    assert not suspicion.confirmed(0.0)


def test_calls_that_wait_are_work(suspicion: Suspicion):
    scrape(suspicion, *(page(at, running=0.0, waiting=2.0) for at in (10, 25, 40)))
    assert suspicion.confirmed(0.0)


def test_the_first_scrape_says_nothing(suspicion: Suspicion):
    assert not suspicion.compare(Scraped(), page(10))
