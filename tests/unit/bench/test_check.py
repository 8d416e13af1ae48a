"""Growth beyond the tolerance fails, within it passes, and a fall is told."""

from __future__ import annotations

import json

import pytest

from bench import baseline
from bench.baseline import VERSION, Change, changes, figures, renew
from bench.check import judge, profiles
from bench.counting import Work
from bench.script import Result, middle

COUNTS = {"instructions per request": 1000.0, "C calls per request": 100.0}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "baseline.json"
    renew(COUNTS, path)
    return path


@pytest.mark.parametrize(
    ("now", "code", "said"),
    [
        (1000.0, 0, "Within 3%"),
        (1030.0, 0, "Within 3%"),
        (970.0, 0, "Within 3%"),
        (1031.0, 1, "GREW by more than 3%: instructions per request."),
        (969.0, 0, "Fell by more than 3%"),
    ],
)
def test_judged_by_the_tolerance(file, capsys, now, code, said):
    assert judge(COUNTS | {"instructions per request": now}, file=file) == code
    assert said in capsys.readouterr().out


def test_a_fall_elsewhere_does_not_excuse_growth(file, capsys):
    grown = {"instructions per request": 500.0, "C calls per request": 104.0}
    assert judge(grown, file=file) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[-2:] == ["-50.0%", "fell"]
    assert lines[2].split()[-2:] == ["+4.0%", "GREW"]


def test_the_tolerance_is_an_option(file):
    assert judge(COUNTS | {"C calls per request": 104.0}, 0.05, file) == 0
    assert judge(COUNTS | {"C calls per request": 104.0}, 0.01, file) == 1


def test_a_version_without_a_baseline_passes_and_says_so(tmp_path, capsys):
    assert judge(COUNTS, file=tmp_path / "none.json") == 0
    assert f"Python {VERSION} has no baseline" in capsys.readouterr().out


def test_renewing_leaves_other_versions_alone(file):
    renew({"instructions per request": 7.0}, file, "3.99")
    assert baseline.read(file) == COUNTS
    assert baseline.read(file, "3.99") == {"instructions per request": 7.0}
    assert baseline.read(file, "3.98") is None


def test_a_count_out_of_nothing_grew():
    assert Change("blocks", 0.0, 0.1).grew
    assert not Change("blocks", 0.0, 0.0).grew


def test_a_count_that_the_baseline_does_not_know_has_not_changed():
    assert [change.share for change in changes({"new": 5.0}, {}, 0.03)] == [0.0]


def test_the_baseline_knows_every_figure():
    result = Result({}, {}, {}, 0.0)
    for version in json.loads(baseline.FILE.read_text()).values():
        assert version.keys() == figures(result).keys()


def test_a_profile_shows_the_heaviest_first_under_the_sum():
    work = {"a.py:f": Work(10, 1, 2), "b.py:g": Work(30, 2, 0), "c.py:h": Work(20, 1, 0)}
    said = profiles(Result(work, {}, {}, 0.0), 2).split("\n\n")[0].splitlines()
    assert [line.split() for line in said[1:]] == [
        ["60.0", "4.0", "2.0", "all", "of", "3", "functions"],
        ["30.0", "2.0", "0.0", "b.py:g"],
        ["20.0", "1.0", "0.0", "c.py:h"],
    ]


def test_a_disturbed_sample_does_not_count():
    quiet, disturbed = {"f": Work(10, 1, 1)}, {"f": Work(10, 1, 1), "beat": Work(90, 5, 1)}
    assert middle([disturbed, quiet, quiet]) == quiet
