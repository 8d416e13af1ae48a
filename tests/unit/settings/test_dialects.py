"""What was written for others is understood, or left out with a line."""

from __future__ import annotations

import pytest

from app.settings.dialects import translate
from app.settings.problems import ConfigError


def test_sections_of_a_semantic_router_are_ignored_with_one_warning_each(caplog):
    assert translate({"semantic_cache": {"enabled": True}, "prompt-guard": {}, "server": {}}) == {
        "server": {}
    }
    assert [record.getMessage() for record in caplog.records] == [
        "ignored semantic_cache: it means nothing to this gateway",
        "ignored prompt-guard: it means nothing to this gateway",
    ]


def test_keys_of_its_endpoints_and_models_are_ignored_too(caplog):
    layer = {
        "vllm_endpoints": [{"name": "a", "health_check_path": "/health"}, None, "b"],
        "model_config": {"m": {"pii_policy": {}, "aliases": ["x"]}, "n": None},
    }
    assert translate(layer) == {
        "vllm_endpoints": [{"name": "a"}, {}, "b"],
        "model_config": {"m": {"aliases": ["x"]}, "n": {}},
    }
    assert "vllm_endpoints[0].health_check_path" in caplog.text
    assert "model_config.m.pii_policy" in caplog.text


def test_what_is_no_section_is_left_for_the_schema_to_refuse():
    layer = {"vllm_endpoints": 1, "model_config": [], "resilience": "x"}
    assert translate(layer) == layer


def test_a_bulkheads_wait_is_the_queues():
    layer = {"resilience": {"bulkhead": {"max-concurrent-calls": 32, "max-wait-duration": "10s"}}}
    assert translate(layer)["resilience"] == {
        "bulkhead": {"max-concurrent-calls": 32},
        "queue": {"max_wait": "10s"},
    }


def test_mechanisms_of_a_row_are_understood_as_well():
    row = {
        "circuitbreaker": {"sliding-window-size": 4},
        "resilience": {"timelimiter": {"timeout-duration": "9s"}},
    }
    assert translate({"model_config": {"m": row}})["model_config"]["m"] == {
        "breaker": {"sliding-window-size": 4},
        "resilience": {"timeouts": {"total": "9s"}},
    }


def test_an_instance_lies_over_its_default_and_under_our_own_section():
    layer = {
        "resilience4j": {
            "circuitbreaker": {
                "configs": {"default": {"sliding-window-size": 10, "register-health-indicator": True}},
                "instances": {"vllm": {"sliding-window-size": 20, "failure-rate-threshold": 50}},
            },
            "retry": {"instances": {"vllm": None}},
        },
        "resilience": {"queue": {"max_length": 5}},
    }
    assert translate(layer) == {
        "resilience": {
            "breaker": {"sliding-window-size": 20, "failure-rate-threshold": 50},
            "retry": {},
            "queue": {"max_length": 5},
        }
    }


@pytest.mark.parametrize(
    ("section", "path"),
    [
        ({"ratelimiter": {}}, "resilience4j.ratelimiter"),
        ({"bulkhead": {"instances": {"a": {}, "b": {}}}}, "resilience4j.bulkhead.instances"),
    ],
)
def test_what_cannot_be_understood_is_refused(section, path):
    with pytest.raises(ConfigError) as raised:
        translate({"resilience4j": section})
    assert raised.value.problems[0].path == path


def test_an_empty_section_says_nothing():
    assert translate({"resilience4j": None}) == {"resilience": {}}
