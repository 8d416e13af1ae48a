"""The settings for people."""

from __future__ import annotations

import json

from app.settings import Change, diff, masked, schema
from app.settings.tree import Settings

TOKEN = "0123456789abcdef"
ROW = {"name": "a", "url": "http://a", "api_key": "hush-1", "headers": {"x": "hush-2"}}


def test_secrets_are_masked_everywhere():
    shown = json.dumps(
        masked(
            Settings(
                database_url="postgresql://sluice:hush-3@db:5432/s",
                admin_token=TOKEN,
                secret=TOKEN,
                vllm_endpoints=[ROW],
                admin={"tokens": [{"name": "eve", "role": "viewer", "token": TOKEN}]},
            )
        )
    )
    assert "hush" not in shown
    assert TOKEN not in shown
    assert "postgresql://sluice:***@db:5432/s" in shown


def test_a_sqlite_path_is_shown():
    assert masked(Settings())["database_url"] == "sqlite:///sluice.db"


def test_of_a_redis_everything_is_shown_but_the_password():
    for url, seen in (
        ("rediss://u:hush@h:6379/1", "rediss://u:***@h:6379/1"),
        ("redis://:hush@h", "redis://:***@h"),
        ("unix:///run/redis.sock?db=1&password=hush", "unix:///run/redis.sock?db=1&password=***"),
    ):
        assert masked(Settings(redis_url=url))["redis_url"] == seen
        assert diff(Settings(), Settings(redis_url=url)) == [Change("redis_url", None, seen)]
    assert masked(Settings())["redis_url"] is None


def test_what_is_shown_without_secrets_can_be_loaded_again():
    settings = Settings(
        vllm_endpoints=[{"name": "a", "url": "http://a"}], model_config={"m": {"aliases": ["x"]}}
    )
    assert Settings(**masked(settings)) == settings


def test_a_row_shows_only_what_it_says():
    shown = masked(Settings(model_config={"m": {"timeouts": {"idle": "9s"}}}))
    assert shown["model_config"]["m"] == {
        "timeouts": {"idle": "9s"},
        "strict_preferred": False,
        "accounting": "exact",
        "json_upstream": "json",
        "resume": False,
    }


def test_the_schema_uses_the_words_of_the_file():
    assert {"server", "vllm_endpoints", "model_config"} <= schema()["properties"].keys()
    assert schema()["additionalProperties"] is False


def test_rows_are_compared_by_name():
    old = Settings(vllm_endpoints=[{"name": "a", "url": "http://a"}, {"name": "b", "url": "http://b"}])
    new = Settings(vllm_endpoints=[{"name": "b", "url": "http://b", "weight": 2}], server={"port": 1})
    changes = diff(old, new)
    assert Change("server.port", 9000, 1) in changes
    assert Change("vllm_endpoints.b.weight", 1, 2) in changes
    assert Change("vllm_endpoints.a.url", "http://a", None) in changes
    assert not [
        change
        for change in changes
        if change.path.startswith("vllm_endpoints.b.") and "weight" not in change.path
    ]


def test_a_changed_secret_is_told_and_not_shown():
    old = Settings(vllm_endpoints=[ROW], database_url="postgresql://u:hush-1@h/d")
    new = Settings(vllm_endpoints=[{**ROW, "api_key": "hush-9"}], database_url="postgresql://u:hush-2@h/d")
    assert diff(old, new) == [
        Change("database_url", "postgresql://u:***@h/d", "postgresql://u:***@h/d"),
        Change("vllm_endpoints.a.api_key", "**********", "**********"),
    ]


def test_nothing_changed_is_no_change():
    assert diff(Settings(), Settings()) == []
