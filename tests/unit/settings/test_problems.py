"""Errors read as plain lines."""

from __future__ import annotations

from app.settings.problems import ConfigError, Problem, dotted, nearest


def test_an_error_is_one_line_per_problem():
    error = ConfigError([Problem("a.b", "is wrong"), Problem("c", "too")])
    assert str(error) == "a.b: is wrong\nc: too"


def test_positions_stand_in_brackets():
    assert dotted(("vllm_endpoints", 0, "address")) == "vllm_endpoints[0].address"


def test_many_names_are_not_listed():
    assert nearest("zzz", [f"name{number}" for number in range(20)]) == ""
    assert nearest("zzz", []) == ""
