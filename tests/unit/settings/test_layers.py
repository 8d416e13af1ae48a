"""Later layers win."""

from __future__ import annotations

from app.settings.layers import merged


def test_sections_merge_and_lists_are_replaced():
    below = {"a": {"x": 1, "y": [1, 2]}, "b": 1}
    assert merged(below, {"a": {"y": [3]}}, {"b": {"c": 2}}) == {"a": {"x": 1, "y": [3]}, "b": {"c": 2}}
    assert below == {"a": {"x": 1, "y": [1, 2]}, "b": 1}
