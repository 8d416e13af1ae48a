"""Who operates."""

from __future__ import annotations

import pytest

from app.admin.access import WRONG_PER_MINUTE, Access, Token
from app.core.errors import Forbidden, InvalidKey, NotFound, RateLimitExceeded
from tests.clock import FakeClock

GOOD = "a-token-of-the-tests"


def access(*tokens: Token, clock: FakeClock | None = None) -> Access:
    return Access(lambda: tokens, clock or FakeClock())


def of(role: str) -> Token:
    return Token.of("ann", role, GOOD)


def test_without_tokens_there_is_nothing():
    with pytest.raises(NotFound):
        access().admit(f"Bearer {GOOD}", "p", "viewer")


def test_a_token_is_its_holders_name_and_role_and_where_they_are():
    operator = access(of("viewer")).admit(f"bearer  {GOOD} ", "10.0.0.9", "viewer")
    assert (operator.name, operator.role, operator.origin) == ("ann", "viewer", "10.0.0.9")


@pytest.mark.parametrize(
    "header", ["", GOOD, f"Basic {GOOD}", "Bearer", "Bearer ", f"Bearer {GOOD}x", f"Bearer {GOOD[:-1]}"]
)
def test_anything_but_the_whole_token_is_refused(header):
    with pytest.raises(InvalidKey) as refused:
        access(of("admin")).admit(header, "p", "viewer")
    assert refused.value.headers()["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("role", "needed", "enough"),
    [
        ("viewer", "viewer", True), ("viewer", "operator", False), ("viewer", "admin", False),
        ("operator", "viewer", True), ("operator", "operator", True), ("operator", "admin", False),
        ("admin", "viewer", True), ("admin", "operator", True), ("admin", "admin", True),
    ],
)  # fmt: skip
def test_a_role_holds_what_is_below_it(role, needed, enough):
    desk = access(of(role))
    if enough:
        assert desk.admit(f"Bearer {GOOD}", "p", needed).role == role
    else:
        with pytest.raises(Forbidden):
            desk.admit(f"Bearer {GOOD}", "p", needed)


def wrong(desk: Access, peer: str, times: int) -> list[type]:
    said = []
    for _ in range(times):
        with pytest.raises((InvalidKey, RateLimitExceeded)) as refused:
            desk.admit("Bearer guess", peer, "viewer")
        said.append(type(refused.value))
    return said


def test_guessing_is_slowed_down_for_the_guesser_alone():
    clock = FakeClock()
    desk = access(of("admin"), clock=clock)
    assert (
        wrong(desk, "evil", WRONG_PER_MINUTE + 3) == [InvalidKey] * WRONG_PER_MINUTE + [RateLimitExceeded] * 3
    )
    assert wrong(desk, "other", 1) == [InvalidKey]
    assert desk.admit(f"Bearer {GOOD}", "evil", "admin").name == "ann"
    clock.advance(59)
    with pytest.raises(RateLimitExceeded) as refused:
        desk.admit("Bearer guess", "evil", "viewer")
    assert refused.value.retry_after == 1
    clock.advance(1)
    assert wrong(desk, "evil", 1) == [InvalidKey]


def test_guesses_from_many_addresses_are_remembered_within_bounds():
    desk = access(of("admin"))
    wrong(desk, "first", WRONG_PER_MINUTE)
    for n in range(1023):
        wrong(desk, f"peer-{n}", 1)
    assert wrong(desk, "first", 1) == [RateLimitExceeded]
    for n in range(1024):
        wrong(desk, f"later-{n}", 1)
    assert wrong(desk, "first", 1) == [InvalidKey]


def test_wrong_tokens_are_logged_without_what_was_tried(caplog):
    wrong(access(of("admin")), "10.6.6.6", WRONG_PER_MINUTE + 5)
    assert [record.getMessage() for record in caplog.records] == [
        "a wrong admin token from 10.6.6.6"
    ] * WRONG_PER_MINUTE


def test_a_token_does_not_show_its_secret():
    assert GOOD not in repr(of("admin"))
    assert "digest" not in repr(of("admin"))
