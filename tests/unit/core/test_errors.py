"""Errors: one shape, honest headers, every subclass complete."""

from __future__ import annotations

import json

import pytest

from app.core import errors, failures
from app.core.errors import GatewayError, InvalidKey, InvalidRequest, Overloaded
from app.core.failures import EndpointError, EndpointRejected


def _tree(cls: type[GatewayError]) -> list[type[GatewayError]]:
    return [cls, *(deeper for sub in cls.__subclasses__() for deeper in _tree(sub))]


@pytest.mark.parametrize("cls", [cls for cls in _tree(GatewayError) if cls is not EndpointRejected])
def test_every_error_has_the_contracts_shape(cls):
    body = json.loads(cls().body())
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert all(body["error"][name] for name in ("message", "type", "code"))
    assert 400 <= cls.status <= 599


def test_the_param_is_named():
    assert json.loads(InvalidRequest("Too many.", param="n").body())["error"]["param"] == "n"


def test_retry_after_is_rounded_up_to_whole_seconds():
    headers = Overloaded(retry_after=1.2).headers()
    assert headers == {"retry-after": "2", "retry-after-ms": "1200", "x-should-retry": "true"}


def test_an_invalid_key_names_the_scheme():
    assert InvalidKey().headers() == {"www-authenticate": "Bearer"}


def test_what_an_endpoint_said_of_the_request_is_passed_on_as_it_came():
    raw = b'{"error":{"message":"no","type":"BadRequestError","param":null,"code":400}}'
    error = EndpointRejected(400, raw)
    assert (error.status, error.body()) == (400, raw)
    assert not error.elsewhere


@pytest.mark.parametrize("cls", [cls for cls in _tree(EndpointError) if cls.free])
def test_what_costs_nothing_may_be_tried_elsewhere(cls):
    assert cls.elsewhere


def test_no_error_is_defined_outside_the_two_trees():
    modules = {cls.__module__ for cls in _tree(GatewayError) if cls.__module__.startswith("app.core")}
    assert modules == {errors.__name__, failures.__name__}
