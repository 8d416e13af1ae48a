"""The catalogue against the suite: every case is held by a test, or its absence has a reason."""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from tests.faults.catalogue import CASES, LATER, UNFIT

TESTS = Path(__file__).parents[1]
PARTIAL = ("tests/unit/", "tests/faults/test_transport_")
"""Parts alone: what holds there may not hold of the whole gateway."""

_ID = re.compile(r"[ucol]\d\d")
_NAME = re.compile(r"((?:[a-z]\d\d_(?:to_)?)+)")


def ids_of(name: str) -> set[str]:
    """The cases that a test's name (without test_) or a parameter's id begins with."""
    begins = _NAME.match(name.replace(" ", "_"))
    if begins is None:
        return set()
    words = begins.group().rstrip("_").split("_")
    found = set()
    for place, word in enumerate(words):
        if word == "to":
            first, last = words[place - 1], words[place + 1]
            found |= {f"{first[0]}{number:02}" for number in range(int(first[1:]), int(last[1:]))}
        else:
            found.add(word)
    return {case for case in found if _ID.fullmatch(case)}


@cache
def held() -> dict[str, list[str]]:
    """By case: the tests of the whole gateway, or the tables of cases, that bear its id."""
    found: dict[str, list[str]] = {}
    for file in sorted(TESTS.rglob("test_*.py")):
        place = file.relative_to(TESTS.parent).as_posix()
        if place.startswith(PARTIAL) or file == Path(__file__):
            continue
        for name in names(ast.parse(file.read_text(encoding="utf-8"))):
            for case in ids_of(name):
                found.setdefault(case, []).append(f"{place}: {name}")
    return found


def names(tree: ast.AST) -> list[str]:
    """Of tests, without their test_, and every string that begins with a case's id and says more."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            found.append(node.name.removeprefix("test_"))
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and _NAME.match(node.value.replace(" ", "_"))
        ):
            found.append(node.value)
    return found


GROUPS = {"u": 59, "c": 27, "o": 19, "l": 19}


@pytest.mark.parametrize("group", GROUPS)
def test_every_case_is_held_or_has_a_reason(group):
    cases = {case: sentence for case, sentence in CASES.items() if case.startswith(group)}
    answers = {case: (case in held()) + (case in LATER) + (case in UNFIT) for case in cases}
    missing = {case: cases[case] for case, times in answers.items() if times == 0}
    twice = {case: held().get(case) for case, times in answers.items() if times > 1}
    assert (missing, twice) == ({}, {})
    tests = {test for case in cases for test in held().get(case, [])}
    print(
        f"{group.upper()}: {len(cases)} cases, {sum(case in held() for case in cases)} held by {len(tests)} tests,"
        f" {sum(case in LATER or case in UNFIT for case in cases)} not, with a reason"
    )


def test_nothing_else_is_listed():
    assert Counter(case[0] for case in CASES) == GROUPS
    assert {*LATER, *UNFIT} <= CASES.keys()
    assert held().keys() <= CASES.keys()
    assert all(reason for reason in (*LATER.values(), *UNFIT.values()))


def test_ids_are_read_from_names():
    assert ids_of("u09_to_u13_stream_that_breaks_off") == {"u09", "u10", "u11", "u12", "u13"}
    assert ids_of("c01_c03_hang_up") == {"c01", "c03"}
    assert ids_of("u35 a page") == {"u35"}
    assert ids_of("h01_to_h21_malformed") == set()
    assert ids_of("every_call_succeeds_u01") == set()
