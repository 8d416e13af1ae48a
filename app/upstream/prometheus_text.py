"""Prometheus' text format, as far as one needs it to read an endpoint's gauges. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(,|(?=\}))')
_ESCAPED = re.compile(r"\\(.)")
_SPECIAL = {"n": "\n"}


class Sample(NamedTuple):
    """`value` may be NaN or infinite."""

    name: str
    labels: Mapping[str, str]
    value: float


def samples(text: str, names: Collection[str]) -> Iterator[Sample]:
    """The samples with exactly one of these names; lines that are broken are passed over."""
    wanted = tuple(names)
    for line in text.splitlines():
        stripped = line.lstrip()
        if stripped.startswith(wanted):
            sample = _sample(stripped)
            if sample is not None and sample.name in names:
                yield sample


def _sample(line: str) -> Sample | None:
    name = _NAME.match(line)
    if name is None:
        return None
    at = name.end()
    labels: dict[str, str] = {}
    while at < len(line) and line[at] in " \t":
        at += 1
    if line.startswith("{", at):
        at += 1
        while label := _LABEL.match(line, at):
            labels[label[1]] = _ESCAPED.sub(lambda found: _SPECIAL.get(found[1], found[1]), label[2])
            at = label.end()
        closing = line.find("}", at)
        if closing < 0 or line[at:closing].strip():
            return None
        at = closing + 1
    elif at == name.end():
        return None
    rest = line[at:].split()
    try:
        return Sample(name[0], labels, float(rest[0]))
    except (IndexError, ValueError):
        return None
