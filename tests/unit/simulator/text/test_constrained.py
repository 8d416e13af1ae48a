from __future__ import annotations

import json
import re

import pytest

from app.simulator.text.constrained import json_for, text_for


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, "tiny"),
        ({"type": "integer", "minimum": 5}, 5),
        ({"type": "number"}, 1),
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"type": ["string", "null"]}, "tiny"),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [1, 1]),
        ({"enum": ["x", "y"]}, "x"),
        ({"const": 7}, 7),
        ({"default": "d", "type": "string"}, "d"),
        (
            {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"enum": ["x"]}}},
            {"a": 1, "b": "x"},
        ),
        (True, {}),
    ],
)
def test_json_fits_its_schema(schema, value):
    assert json.loads(json_for(schema)) == value


@pytest.mark.parametrize("pattern", ["[0-9]{3}-[0-9]{4}", r"\d+x?", "abc.", r"a\.b", "a{2,5}", r"\w\s[xyz]*"])
def test_text_matches_its_pattern(pattern):
    assert re.fullmatch(pattern, text_for(pattern) or "")


def test_rich_patterns_are_beyond_it():
    assert text_for("(a|b)+") is None
