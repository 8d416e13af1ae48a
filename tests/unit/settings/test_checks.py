"""Names that must agree, and combinations that are unsafe."""

from __future__ import annotations

import pytest

from app.settings.checks import problems
from app.settings.tree import Settings

A = {"name": "a", "url": "http://a:8000", "models": {"llama": "Meta"}}
TOKEN = "0123456789abcdef"


def found(*, yes_open: bool = False, **tree) -> list[tuple[str, str]]:
    return [tuple(problem) for problem in problems(Settings(**tree), yes_open=yes_open)]


def paths(**tree) -> list[str]:
    return [path for path, _ in found(**tree)]


def test_defaults_are_fine():
    assert found() == []


def test_two_endpoints_never_share_a_name():
    rows = [A, {**A, "url": "http://b"}]
    assert found(vllm_endpoints=rows) == [
        ("vllm_endpoints[1].name", "'a' is taken by vllm_endpoints[0].name; names are unique")
    ]


def test_an_instance_never_takes_a_given_name():
    tree = {"vllm_endpoints": [{**A, "name": "instance-1"}], "vllm": {"instances": [{"url": "http://b"}]}}
    assert paths(**tree) == ["vllm.instances[0].name"]


def test_overrides_are_judged_where_they_stand():
    rows = [{**A, "breaker": {"minimum_calls": -1}, "resilience": {"timeouts": {"idle": "soon"}}}]
    models = {"m": {"queue": {"max_length": "x"}}}
    assert paths(vllm_endpoints=rows, model_config=models) == [
        "vllm_endpoints[0].resilience.timeouts.idle",
        "vllm_endpoints[0].breaker.minimum_calls",
        "model_config.m.queue.max_length",
    ]


def test_a_preferred_endpoint_exists():
    models = {"m": {"preferred_endpoints": ["a", "aa"]}}
    assert found(vllm_endpoints=[A], model_config=models) == [
        ("model_config.m.preferred_endpoints[1]", "there is no endpoint 'aa'; did you mean 'a'?")
    ]


def test_an_alias_is_no_model_and_belongs_to_one():
    models = {"m": {"aliases": ["x", "n", "llama"]}, "n": {"aliases": ["x"]}}
    assert found(vllm_endpoints=[A], model_config=models) == [
        ("model_config.m.aliases[1]", "'n' is a model of its own"),
        ("model_config.m.aliases[2]", "'llama' is a model of its own"),
        ("model_config.n.aliases[0]", "'x' is already model_config.m.aliases[0]"),
    ]


def test_a_fallback_is_another_model_that_is_known():
    models = {"m": {"fallbacks": ["m", "n", "llama", "lama"]}, "n": {}}
    assert found(vllm_endpoints=[A], model_config=models) == [
        ("model_config.m.fallbacks[0]", "a model cannot stand in for itself"),
        (
            "model_config.m.fallbacks[3]",
            "there is no model 'lama' in model_config or in an endpoint's models; did you mean 'llama'?",
        ),
    ]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_open_mode_is_for_loopback(host):
    assert found(auth={"mode": "open"}, server={"host": host}) == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "gateway.internal"])
def test_open_mode_elsewhere_must_be_asked_for(host):
    tree = {"auth": {"mode": "open"}, "server": {"host": host}}
    ((path, message),) = found(**tree)
    assert path == "auth.mode"
    assert "--yes-open" in message
    assert found(**tree, yes_open=True) == []


def test_operators_have_names_and_tokens_of_their_own():
    tokens = [
        {"name": "root", "role": "viewer", "token": TOKEN},
        {"name": "eve", "role": "viewer", "token": TOKEN + "1"},
        {"name": "eve", "role": "viewer", "token": TOKEN + "2"},
    ]
    assert paths(admin_token=TOKEN, admin={"tokens": tokens}) == [
        "admin.tokens[0].name",
        "admin.tokens[2].name",
        "admin.tokens",
    ]


def test_postgresql_needs_a_secret():
    tree = {"database_url": "postgresql://u:p@h/d"}
    assert paths(**tree) == ["secret"]
    assert found(**tree, secret=TOKEN) == []


def test_a_previous_secret_needs_a_present_one():
    assert paths(secret_previous=TOKEN) == ["secret_previous"]


def test_shared_limits_have_a_redis():
    assert found(redis_url="redis://h") == []
    with pytest.raises(ValueError, match="begins with redis://"):
        Settings(redis_url="http://h")


def test_the_two_ports_differ():
    assert paths(ops={"port": 9000}) == ["ops.port"]
    assert found(ops={"port": 0}, server={"port": 0}) == []


def test_a_time_zone_exists():
    assert paths(ledger={"timezone": "Mars/Olympus"}) == ["ledger.timezone"]
    assert paths(ledger={"timezone": "../etc"}) == ["ledger.timezone"]
    assert found(ledger={"timezone": "UTC"}) == []


def test_utc_needs_no_time_zone_files(monkeypatch):
    monkeypatch.setattr("app.settings.checks.ZoneInfo", lambda name: (_ for _ in ()).throw(ValueError(name)))
    assert found() == []
