from __future__ import annotations

import pytest

from app.simulator.faults.fault import Fault, parse


def test_is_parsed_from_text():
    fault = parse("rst;after=3;count=2")
    assert (fault.fault, fault.after_tokens, fault.count) == ("rst", 3, 2)


def test_is_parsed_from_a_dict():
    fault = parse({"fault": "error", "code": 400, "count": None, "match": {"path": "/v1/completions"}})
    assert (fault.code, fault.count, fault.match.path) == (400, None, "/v1/completions")


def test_dashes_are_as_good_as_underscores():
    assert parse("head-then-silence").fault == "head_then_silence"


def test_values_that_are_no_json_are_text():
    assert parse("redirect;location=http://x/").location == "http://x/"


@pytest.mark.parametrize("spec", ["", "nonsense", "rst;after=-1", {"fault": "rst", "nonsense": 1}, 5])
def test_nonsense_is_refused(spec):
    with pytest.raises(ValueError, match=r"."):
        parse(spec)


def test_meets_one_request_unless_told_otherwise():
    assert Fault(fault="silent").count == 1
