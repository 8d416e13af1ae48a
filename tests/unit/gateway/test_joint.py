from __future__ import annotations

from types import SimpleNamespace

import pytest

from app.core.outcome import NO_USAGE, Usage
from app.gateway.joint import JointMeter, joined

FIRST = Usage(prompt=10, completion=4, cached=2)
LATER = Usage(prompt=15, completion=5, cached=12)
BOTH = Usage(prompt=10, completion=9, cached=2)


@pytest.mark.parametrize(
    ("source", "later_source", "usage", "both"),
    [
        ("upstream", "upstream", BOTH, "upstream"),
        ("upstream", "counted", BOTH, "counted"),
        ("counted", "upstream", BOTH, "counted"),
        ("upstream", "estimated", FIRST, "upstream"),
        ("estimated", "upstream", LATER, "upstream"),
    ],
)
def test_prompt_counts_once_and_is_no_more_certain_than_its_parts(source, later_source, usage, both):
    assert joined(FIRST, source, LATER, later_source) == (usage, both)


def test_nothing_and_a_part_are_the_part():
    assert joined(NO_USAGE, "estimated", FIRST, "counted") == (FIRST, "counted")


def test_meter_tells_of_both_while_the_later_one_grows():
    later = SimpleNamespace(usage=Usage(15, 1), usage_source="upstream", suspect=False)
    meter = JointMeter(FIRST, "upstream", later)
    assert (meter.usage, meter.usage_source, meter.suspect) == (Usage(10, 5, 2), "upstream", False)
    later.usage, later.suspect = Usage(15, 7), True
    assert (meter.usage.completion, meter.suspect) == (11, True)
