"""Values: what their few methods promise."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import BaseModel, ValidationError

from app.core.clock import SystemClock
from app.core.endpoint import EndpointSpec
from app.core.outcome import Usage
from app.core.tenant import NOBODY, Key, Tenant
from app.core.units import Seconds, Size


class Quantities(BaseModel):
    wait: Seconds = 0.0
    room: Size = 0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("10m", 600), ("0.5", 0.5), ("250ms", 0.25), ("1h", 3600), ("2d", 172800), (7, 7)],
)
def test_durations(text, seconds):
    assert Quantities(wait=text).wait == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "size"), [("10MiB", 10 * 2**20), ("64k", 64000), ("1GiB", 2**30), ("12", 12), (5, 5)]
)
def test_sizes(text, size):
    assert Quantities(room=text).room == size


@pytest.mark.parametrize("text", ["soon", "10 parsecs", "-1s", ""])
def test_nonsense_is_refused_with_an_example(text):
    with pytest.raises(ValidationError):
        Quantities(wait=text)


def test_total_is_prompt_and_completion():
    assert Usage(prompt=3, completion=4, cached=2, reasoning=1).total == 7


def test_an_address_has_a_host_without_brackets():
    assert EndpointSpec("a", "http://[2001:db8::1]:8000").address == ("2001:db8::1", 8000)
    assert EndpointSpec("a", "https://vllm.example.com").address == ("vllm.example.com", 443)
    assert EndpointSpec("a", "http://vllm.example.com").address == ("vllm.example.com", 80)
    assert EndpointSpec("a", "https://x").secure


@pytest.mark.parametrize(
    ("tenants", "keys", "allowed"),
    [
        (None, None, True),
        (frozenset({"m"}), None, True),
        (None, frozenset({"alias"}), True),
        (frozenset({"m"}), frozenset({"other"}), False),
        (frozenset(), None, False),
    ],
)
def test_a_key_may_use_what_it_and_its_tenant_both_grant(tenants, keys, allowed):
    key = Key("k", Tenant("t", "t", models=tenants), models=keys)
    assert key.may_use("alias", "m") is allowed


def test_nobody_may_use_nothing():
    assert not NOBODY.may_use("m")


async def test_the_system_clock_runs_timers_on_the_loop():
    clock = SystemClock()
    before, fired = clock.monotonic(), asyncio.Event()
    clock.call_later(0.001, fired.set)
    await fired.wait()
    await clock.sleep(0)
    assert clock.monotonic() > before
    assert clock.time() > 1_700_000_000
