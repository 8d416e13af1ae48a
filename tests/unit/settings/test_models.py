"""Rows of model_config."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from app.settings.models import ModelOptions


def test_json_answers_are_asked_for_as_such_unless_said_otherwise():
    assert ModelOptions().json_upstream == "json"
    assert ModelOptions(json_upstream="stream").accounting == "exact"
    with pytest.raises(ValidationError):
        ModelOptions(json_upstream="sse")


def test_an_unknown_reasoning_family_is_refused_with_those_known():
    with pytest.raises(ValidationError, match="'deepseek', 'gpt', 'gpt-oss', 'llama' or 'qwen3'"):
        ModelOptions(reasoning_family="qwen9")


def test_a_price_is_never_negative():
    with pytest.raises(ValidationError):
        ModelOptions(price={"prompt": -1})
