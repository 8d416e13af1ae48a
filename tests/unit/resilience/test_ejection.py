"""Endpoints worse than their peers rest, but never too many of them."""

import pytest

from app.resilience.ejection import Ejection, EjectionOptions

POOL = ["a", "b", "c", "d"]


@pytest.fixture
def ejection():
    return Ejection(EjectionOptions())


def test_nobody_is_out_at_first(ejection):
    assert ejection.ejected(POOL, 0.0) == frozenset()
    assert not ejection.panic


def test_an_ejected_endpoint_is_out_for_its_time(ejection):
    ejection.eject("a", until=30.0)
    assert ejection.ejected(POOL, 29.9) == {"a"}
    assert ejection.ejected(POOL, 30.0) == frozenset()


def test_without_a_time_it_is_out_until_restored(ejection):
    ejection.eject("a")
    assert ejection.ejected(POOL, 1e9) == {"a"}
    ejection.restore("a")
    ejection.restore("a")
    assert ejection.ejected(POOL, 0.0) == frozenset()


def test_endpoints_of_other_pools_do_not_count(ejection):
    for name in ("x", "y", "z"):
        ejection.eject(name)
    assert ejection.ejected(["a", "x"], 0.0) == {"x"}
    assert not ejection.panic


def test_half_a_pool_may_be_out(ejection):
    ejection.eject("a")
    ejection.eject("b")
    assert ejection.ejected(POOL, 0.0) == {"a", "b"}
    assert not ejection.panic


def test_beyond_that_the_pool_panics_and_uses_all(ejection):
    for name in "abc":
        ejection.eject(name)
    assert ejection.ejected(POOL, 0.0) == frozenset()
    assert ejection.panic
    assert repr(ejection) == "<Ejection out=['a', 'b', 'c'] panic=True>"


def test_panic_ends_when_enough_are_back(ejection):
    for name in "abc":
        ejection.eject(name)
    ejection.ejected(POOL, 0.0)
    ejection.restore("c")
    assert ejection.ejected(POOL, 0.0) == {"a", "b"}
    assert not ejection.panic


def test_panic_ends_when_nobody_is_out_any_more(ejection):
    ejection.eject("a")
    ejection.ejected(["a"], 0.0)
    assert ejection.panic
    ejection.restore("a")
    ejection.ejected(["a"], 0.0)
    assert not ejection.panic


def test_those_ejected_leniently_may_help_out(ejection):
    ejection.eject("a", lenient=True)
    ejection.eject("b")
    out = ejection.ejected(POOL, 0.0)
    assert (out, ejection.lenient(out)) == ({"a", "b"}, {"a"})
    ejection.eject("a")
    assert ejection.lenient(ejection.ejected(POOL, 0.0)) == frozenset()
