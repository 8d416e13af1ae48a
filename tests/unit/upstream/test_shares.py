from __future__ import annotations

from app.core.guard import Lease
from app.core.outcome import ABANDONED
from app.upstream.shares import Shares
from tests.unit.upstream.fleets import make_call


def test_a_tenant_holds_no_more_than_its_share_and_others_do_not_count():
    shares = Shares(lambda: 2)
    leases = [Lease(), Lease()]
    for lease in leases:
        assert shares.may_hold("a")
        lease.enter(make_call(tenant="a"), (shares,))
    assert not shares.may_hold("a")
    assert shares.may_hold("b")
    assert repr(shares) == "<Shares most=2 held={'a': 2}>"
    leases[0].settle(ABANDONED)
    assert shares.may_hold("a")


def test_a_place_is_given_back_once():
    shares = Shares(lambda: 2)
    first, second = shares.admit(make_call(tenant="a")), shares.admit(make_call(tenant="a"))
    first.answered()
    first(ABANDONED)
    first(ABANDONED)
    assert shares._held == {"a": 1}
    second(ABANDONED)
    assert shares._held == {}


def test_one_place_is_everybodys():
    assert Shares(lambda: 0).may_hold("a")
