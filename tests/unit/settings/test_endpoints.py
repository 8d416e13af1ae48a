"""Rows of vllm_endpoints."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from app.core.endpoint import Tls
from app.settings.endpoints import EndpointOptions


def refusal(**row) -> str:
    with pytest.raises(ValidationError) as raised:
        EndpointOptions(**row)
    return str(raised.value)


def test_a_row_becomes_a_spec():
    spec = EndpointOptions(
        name="gpu-b",
        url="https://vllm.example.com/v1",
        tier=1,
        api_key="k",
        models={"llama": "Meta-Llama"},
        tls={"ca": "ca.pem"},
        headers={"x-team": "a"},
        labels={"zone": "z"},
    ).spec()
    assert spec.url == "https://vllm.example.com"
    assert (spec.weight, spec.tier, spec.api_key) == (1, 1, "k")
    assert spec.models == {"llama": "Meta-Llama"}
    assert spec.tls == Tls(ca="ca.pem")
    assert (spec.headers, spec.labels) == ({"x-team": "a"}, {"zone": "z"})


def test_a_list_of_models_serves_them_under_their_own_names():
    assert EndpointOptions(name="a", url="http://a", models=["m"]).models == {"m": "m"}


def test_models_that_are_not_given_are_learnt():
    assert EndpointOptions(name="a", url="http://a").spec().models is None


def test_an_ipv6_address_goes_into_brackets():
    row = EndpointOptions(name="a", address="2001:db8::1", port=8000)
    assert row.spec().url == "http://[2001:db8::1]:8000"
    assert row.spec().address == ("2001:db8::1", 8000)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"address": "10.0.0.1", "url": "http://a", "port": 1}, "not both"),
        ({}, "give an address"),
        ({"address": "10.0.0.1"}, "needs its port"),
        ({"url": "http://a", "port": 1}, "a url holds its own"),
        ({"url": "http://a", "weight": -1}, "greater than or equal to 0"),
        ({"address": "10.0.0.1", "port": 0}, "greater than or equal to 1"),
        ({"address": "10.0.0.1", "port": 65536}, "less than or equal to 65535"),
        ({"url": "http://a", "max_concurrent_calls": 0}, "greater than or equal to 1"),
    ],
)
def test_a_row_says_where_and_how_much(row, words):
    assert words in refusal(name="a", **row)


def test_a_name_fits_into_a_path():
    assert "name" in refusal(name="a/b", url="http://a")


def test_the_address_error_prints_the_line_with_this_rows_port():
    assert "url: http://vllm:8000" in refusal(name="a", address="vllm", port=8000)


def test_sections_of_the_row_win_over_those_under_resilience():
    row = EndpointOptions(
        name="a",
        url="http://a",
        max_concurrent_calls=64,
        breaker={"minimum_calls": 2},
        resilience={
            "breaker": {"minimum_calls": 9, "half_open_calls": 1},
            "bulkhead": {"max_concurrent_calls": 1},
        },
    )
    assert row.overlay() == {
        "breaker": {"minimum_calls": 2, "half_open_calls": 1},
        "bulkhead": {"max_concurrent_calls": 64},
    }


def test_a_plain_row_changes_nothing():
    assert EndpointOptions(name="a", url="http://a").overlay() == {}
