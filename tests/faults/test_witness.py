"""What every test of a whole gateway relies on is noticed when it is not so."""

from __future__ import annotations

import logging

import pytest

from app.simulator import Simulator
from tests.house import DEFAULTS, chat, running
from tests.witness import CANARY, IDLE, Witness, samples, secrets_of

QUICK = {"ttft": 0.001, "itl": 0.0005}
logger = logging.getLogger("app.of.a.test")


@pytest.mark.parametrize(
    "word",
    [
        lambda gateway: gateway.key,
        lambda gateway: DEFAULTS["admin_token"],
        lambda gateway: chat()["messages"],
    ],
    ids=["key", "admin token", "prompt"],
)
async def test_secret_in_the_log_is_noticed(word):
    with pytest.raises(AssertionError, match="a line of the log"):
        async with running([Simulator(**QUICK)]) as gateway:
            logger.debug("a line of the log with %s", word(gateway))


async def test_traceback_in_the_log_is_noticed_unless_it_is_wanted():
    async def stumble(**options):
        async with running([Simulator(**QUICK)], **options):
            try:
                raise ZeroDivisionError
            except ZeroDivisionError:
                logger.exception("stumbled")

    with pytest.raises(AssertionError, match="stumbled"):
        await stumble()
    await stumble(bugs=True)


async def test_call_that_the_metrics_do_not_tell_of_is_noticed():
    with pytest.raises(AssertionError, match="2 calls came"):
        async with running([Simulator(**QUICK)]) as gateway:
            await gateway.ask("short")
            gateway.witness.arrived += 1


async def test_call_that_the_ledger_does_not_hold_is_noticed():
    with pytest.raises(AssertionError, match="2 calls were admitted, the ledger has 1 rows"):
        async with running([Simulator(**QUICK)]) as gateway:
            await gateway.ask("short")
            gateway.house.hearing.calls.requests["chat", "tiny", "success", "200"] += 1
            gateway.witness.arrived += 1


async def test_refused_calls_are_told_of_and_have_no_row():
    async with running([Simulator(**QUICK)]) as gateway:
        await gateway.limit(requests_per_minute=1)
        for asked in ({"model": "nope"}, {"n": "many"}, {}, {}):
            await gateway.ask("short", **asked)
        assert gateway.witness.arrived == 4
        assert gateway.witness.answered == {404: 1, 400: 1, 200: 1, 429: 1}


class Hearing:
    """Of a house, as far as the witness asks."""

    def __init__(self):
        self.hearing = self.observers = self
        self.failures = {}


@pytest.mark.parametrize("name", IDLE)
def test_gauge_that_stays_up_is_noticed(name):
    page = f'sluice_{name}{{of="a"}} 0.0\nsluice_{name}{{of="b"}} %s\n'
    assert Witness().contradictions(Hearing(), page % "0.0", 0) == []
    (found,) = Witness().contradictions(Hearing(), page % "1.0", 0)
    assert name in found


def test_observer_that_failed_is_noticed():
    house = Hearing()
    house.failures = {"an observer": 1}
    assert Witness().contradictions(house, "", 0)


def test_samples_are_read_with_their_labels():
    page = '# HELP sluice_requests_total x\nsluice_requests_total{a="b"} 2.0\nsluice_ledger_pending 0.0\n'
    assert samples(page)["requests_total"] == {'a="b"': 2.0}
    assert samples(page)["ledger_pending"] == {"": 0.0}


def test_secrets_are_found_in_a_configuration():
    tree = {"secret": "s", "vllm_endpoints": [{"api_key": "k", "url": "u"}], "admin": {"token": "t"}, "x": 1}
    assert secrets_of(tree) == {"s", "k", "t"}
    assert CANARY not in secrets_of(tree)
