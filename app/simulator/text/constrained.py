"""Replies that obey a constraint: the smallest JSON for a schema, a string for a regular expression."""

from __future__ import annotations

import json
import re
from typing import Any

_ATOM = re.compile(r"\[(?P<set>[^\]]+)\]|\\(?P<escape>.)|(?P<char>[^\\\[\](){}*+?|])")
_REPEAT = re.compile(r"\{(\d+)(?:,\d*)?\}|\+|\*|\?")
_ESCAPES = {"d": "4", "w": "a", "s": " "}


def json_for(schema: Any) -> str:
    """JSON that fits a schema's types, enums, required properties and minimums; not its further keywords."""
    return json.dumps(_value(schema), ensure_ascii=False)


def _value(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return {}
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type")
    match kind[0] if isinstance(kind, list) and kind else kind:
        case "string":
            return "tiny"
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case "array":
            return [_value(schema.get("items"))] * max(1, int(schema.get("minItems", 1)))
        case "null":
            return None
    properties = schema.get("properties") or {}
    return {name: _value(part) for name, part in properties.items()}


def text_for(pattern: str) -> str | None:
    """A string a simple pattern matches (literals, sets, escapes, counts); None for anything richer."""
    text, at = "", 0
    while at < len(pattern):
        atom = _ATOM.match(pattern, at)
        if atom is None:
            return None
        at = atom.end()
        repeat = _REPEAT.match(pattern, at)
        count = 1
        if repeat is not None:
            at = repeat.end()
            count = int(repeat.group(1)) if repeat.group(1) else 1
        text += _char(atom) * count
    return text


def _char(atom: re.Match[str]) -> str:
    if atom["set"]:
        return atom["set"][0]
    if atom["escape"]:
        return _ESCAPES.get(atom["escape"], atom["escape"])
    return atom["char"] if atom["char"] != "." else "a"
