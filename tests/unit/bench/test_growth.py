"""What more endpoints cost a request is told, and fails beyond a tenth."""

from __future__ import annotations

import uvloop

from bench import script
from bench.check import growths, judge_growth
from bench.counting import Work, total
from bench.growth import Growth
from bench.script import play_requests


def grown(large: float) -> Growth:
    return Growth(
        64, {"a.py:f": Work(100, 1, 1)}, {"a.py:f": Work(100, 1, 1), "b.py:g": Work(large - 100, 2, 0)}
    )


def test_a_tenth_is_the_most(capsys):
    assert judge_growth([grown(110).change]) == 0
    assert judge_growth([grown(110).change, grown(111).change]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3].split() == ["a", "request", "beside", "64", "others", "100.0", "110.0", "+10.0%"]
    assert lines[-2].split()[-2:] == ["+11.0%", "GREW"]


def test_where_it_grew_is_told():
    said = [line.split() for line in growths([grown(130)]).splitlines() if line]
    assert said[1:] == [
        ["30.0", "2.0", "0.0", "all", "of", "1", "functions"],
        ["30.0", "2.0", "0.0", "b.py:g"],
    ]


def test_requests_are_counted_in_any_fleet_and_beside_others(monkeypatch):
    for name, value in {"SAMPLES": 1, "CALLS": 1}.items():
        monkeypatch.setattr(script, name, value)
    found = uvloop.run(play_requests(3, 2))
    assert total(found).instructions > 1000
    assert not any(name.startswith("bench/") for name in found)
