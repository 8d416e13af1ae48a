"""What is asked of an endpoint whose understanding is known, and for how long it is."""

from __future__ import annotations

import pytest

from app.core.endpoint import EndpointSpec
from app.core.failures import EndpointRejected
from app.gateway.asking import REMEMBERED, Asker, Asking
from app.gateway.catalog import Model
from app.wire.surfaces import SURFACES
from tests.clock import FakeClock
from tests.fakes import make_call

A = EndpointSpec("a", "http://a.test:8000")
EXACT, FINAL = Model("m"), Model("m", accounting="final")
STREAMED = Model("m", json_upstream="stream")
REFUSAL = EndpointRejected(400, b'{"error":{"message":"unknown field","param":"stream_options"}}')


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def asker(clock):
    return Asker(clock)


def test_exact_accounting_asks_for_running_usage_and_final_for_the_last_word(asker):
    call = make_call(streams=True)
    assert asker.ask(call, EXACT, A) == Asking("continuous", assembled=False)
    assert asker.ask(call, FINAL, A) == Asking("final", assembled=False)
    wanting = make_call(streams=True, usage_wanted="continuous")
    assert asker.ask(wanting, FINAL, A) == Asking("continuous", assembled=False)


def test_json_calls_are_streamed_where_the_model_says_so_and_the_answer_can_be_assembled(asker):
    assert asker.ask(make_call(), STREAMED, A).assembled
    assert not asker.ask(make_call(), EXACT, A).assembled
    assert not asker.ask(make_call(streams=True), STREAMED, A).assembled
    assert not asker.ask(make_call(body={"echo": True}), STREAMED, A).assembled
    assert not asker.ask(make_call(surface=SURFACES["/v1/messages"]), STREAMED, A).assembled
    defaults = Model("m", json_upstream="stream", defaults={"logprobs": True})
    assert not asker.ask(make_call(), defaults, A).assembled


def test_what_was_refused_is_not_asked_for_again_until_it_is_forgotten(asker, clock):
    call = make_call(streams=True)
    asker.learn(A, "final")
    assert asker.ask(call, EXACT, A).usage == asker.ask(call, FINAL, A).usage == "final"
    asker.learn(A, "none")
    assert asker.ask(call, FINAL, A).usage == "none"
    assert not asker.ask(make_call(), STREAMED, A).assembled
    clock.advance(REMEMBERED)
    assert asker.ask(call, EXACT, A).usage == "continuous"


def test_another_endpoint_of_that_name_is_a_stranger(asker):
    asker.learn(A, "none")
    other = EndpointSpec("a", "http://b.test:8000")
    assert asker.ask(make_call(streams=True), EXACT, other).usage == "continuous"
    assert asker.ask(make_call(streams=True), EXACT, A).usage == "continuous"


def test_refused_is_asked_for_less_one_step_at_a_time(asker):
    call = make_call(streams=True)
    asking = asker.ask(call, EXACT, A)
    steps = []
    while asking is not None:
        steps.append(asking.usage)
        asking = asker.ask_less(call, EXACT, asking, REFUSAL)
    assert steps == ["continuous", "final", "none"]


def test_a_json_call_ends_as_one(asker):
    call = make_call()
    asking = asker.ask_less(call, STREAMED, Asking("final", assembled=True), REFUSAL)
    assert asking == Asking("none", assembled=False)


@pytest.mark.parametrize(
    "call",
    [make_call(), make_call(surface=SURFACES["/v1/messages"], streams=True)],
    ids=["json", "no options"],
)
def test_a_refusal_of_what_was_not_asked_for_is_the_callers(asker, call):
    assert asker.ask_less(call, EXACT, asker.ask(call, EXACT, A), REFUSAL) is None


def test_a_refusal_that_names_something_else_is_the_callers(asker):
    call = make_call(streams=True)
    refusal = EndpointRejected(400, b'{"error":{"message":"too hot","param":"temperature"}}')
    assert asker.ask_less(call, EXACT, asker.ask(call, EXACT, A), refusal) is None
