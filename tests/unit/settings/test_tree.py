"""The tree as a whole."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from app.settings.tree import Settings

TOKEN = "0123456789abcdef"


def test_the_environment_is_not_read_behind_loads_back(monkeypatch):
    monkeypatch.setenv("SLUICE_TRANSPORT", "httpx")
    assert Settings().transport == "direct"


def test_model_config_is_a_section_like_any_other():
    settings = Settings(model_config={"qwen3": {"aliases": ["gpt-4o"]}})
    assert settings.models["qwen3"].aliases == ("gpt-4o",)


def test_instances_become_endpoints_after_the_rows():
    settings = Settings(
        vllm_endpoints=[{"name": "a", "url": "http://a"}],
        vllm={"instances": [{"url": "http://b:8000/v1", "weight": 50, "model": "m"}, {"url": "http://c"}]},
    )
    specs = [row.spec() for row in settings.endpoints]
    assert [(spec.name, spec.url, spec.weight, spec.models) for spec in specs] == [
        ("a", "http://a", 1, None),
        ("instance-1", "http://b:8000", 50, {"m": "m"}),
        ("instance-2", "http://c", 1, None),
    ]


def test_root_is_the_admin_of_the_environment():
    assert Settings().admin_tokens == ()
    tokens = Settings(
        admin_token=TOKEN, admin={"tokens": [{"name": "eve", "role": "viewer", "token": TOKEN + "1"}]}
    ).admin_tokens
    assert [(token.name, token.role) for token in tokens] == [("root", "admin"), ("eve", "viewer")]


def test_a_database_is_sqlite_or_postgresql():
    with pytest.raises(ValidationError, match="begins with sqlite"):
        Settings(database_url="mysql://h/d")


def test_a_printed_tree_holds_no_secret():
    settings = Settings(admin_token=TOKEN, secret=TOKEN, database_url="postgresql://u:hush@h/d")
    assert TOKEN not in repr(settings)
    assert "hush" not in repr(settings)
